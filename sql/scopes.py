"""What the names in a query can mean: the columns of its relations, and the bounds of its window."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.sql import expressions as e
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.errors import did_you_mean, sql_error
from headrace.sql.functions.catalog import BUILT_IN, Functions
from headrace.sql.record_parts import HEADERS_COLUMN


@dataclass(frozen=True, slots=True)
class Scope:
    """The columns that names can mean, the names by which their relation may be called, and what calls can mean."""

    columns: tuple[e.Column, ...]
    qualifiers: tuple[str, ...]
    quoted: frozenset[str] = frozenset()
    """Columns that were declared in double quotes: only quoted names mean them, exactly."""
    owned: tuple[tuple[str | None, frozenset[str]], ...] = ()
    """Columns that are not those of the first relation, by the name of what they are of."""
    pseudo: tuple[e.Column, ...] = ()
    """The columns of a source that no `*` shows."""
    functions: Functions = BUILT_IN

    def resolve(self, name: s.Name) -> e.Column:
        """The column of a name; SqlError where there is none."""
        if name.qualifier is not None:
            bound = self._window_bound(name.qualifier, name.column)
            if bound is not None:
                return bound
        known = self.columns if name.qualifier is None else self.columns_of(name.qualifier)
        found = [c for c in known if name.column.matches(c.name)]
        exact = [c for c in found if c.name == name.column.text]
        if len(found) > 1 and len(exact) == 1:
            return exact[0]
        if len(found) > 1:
            raise sql_error(f"column `{name.column.text}` is ambiguous", name.span)
        if not found and (pseudo := self.pseudo_column(name.column)):
            if pseudo.name == HEADERS_COLUMN:
                raise sql_error(
                    f"`{HEADERS_COLUMN}` is no value by itself", name.span, "HEADER('name') is the text of a header"
                )
            return pseudo
        if not found:
            hint = did_you_mean(name.column.text, (c.name for c in known))
            raise sql_error(f"column `{name.column.text}` does not exist", name.span, hint)
        return found[0]

    def is_relation(self, name: s.Name) -> bool:
        """Whether the first part of a name is a relation's, or a window's among the columns."""
        assert name.qualifier is not None
        if any(name.qualifier.matches(known) for known in self.qualifiers):
            return True
        return self._window_bound(name.qualifier, name.column) is not None

    def struct_of(self, qualifier: s.Identifier) -> e.Column | None:
        """The STRUCT column of a name that is no relation's."""
        if any(qualifier.matches(known) for known in self.qualifiers):
            return None
        found = (column for column in self.columns if qualifier.matches(column.name))
        return next((column for column in found if column.type.fields), None)

    def has_struct(self, name: s.Name) -> bool:
        """Whether a name is that of a column with fields."""
        kinds = (t.Kind.STRUCT, t.Kind.JSON)
        return any(name.column.matches(column.name) and column.type.kind in kinds for column in self.columns)

    def pseudo_column(self, name: s.Identifier) -> e.Column | None:
        return next((column for column in self.pseudo if name.matches(column.name)), None)

    def _window_bound(self, window: s.Identifier, bound: s.Identifier) -> e.Column | None:
        """`w.start` where `w` is a window among the columns (and no relation)."""
        if any(window.matches(known) for known in self.qualifiers):
            return None
        name = s.Identifier(f"{window.text}.{bound.text}", window.quoted, bound.span)
        return next((column for column in self.columns if name.matches(column.name)), None)

    def bounds_of(self, window: s.Identifier) -> tuple[e.Column, ...]:
        """Both columns of a window among the columns; none where the name is no window's."""
        names = [s.Identifier(bound, False, window.span) for bound in ("start", "end")]
        found = [self._window_bound(window, name) for name in names]
        return tuple(column for column in found if column is not None)

    def columns_of(self, qualifier: s.Identifier) -> tuple[e.Column, ...]:
        """The columns of one relation; SqlError where there is none of that name."""
        self._check_qualifier(qualifier)
        others: set[str] = set()
        for owner, names in self.owned:
            if owner is not None and qualifier.matches(owner):
                return tuple(column for column in self.columns if column.name in names)
            others |= names
        return tuple(column for column in self.columns if column.name not in others)

    def _check_qualifier(self, qualifier: s.Identifier) -> None:
        if not any(qualifier.matches(known) for known in self.qualifiers):
            hint = did_you_mean(qualifier.text, self.qualifiers) or "the query in FROM has no alias"
            raise sql_error(f"`{qualifier.text}` is not a relation of this query", qualifier.span, hint)


WINDOW_NAMES = {
    "window_start": 0,
    "windowstart": 0,
    "window_end": 1,
    "windowend": 1,
    "window_time": 2,
}
"""Names of the window's start, its end, and its last millisecond."""


def names_window(name: s.Name, scope: Scope) -> bool:
    """Whether a name in a windowed query means the window's start or end. SqlError where it could be a column too."""
    if name.qualifier is not None or name.column.text.lower() not in WINDOW_NAMES:
        return False
    if any(name.column.matches(column.name) for column in scope.columns):
        hint = "give the relation an alias, and the name its qualifier"
        if scope.qualifiers:
            hint = f"`{scope.qualifiers[0]}.{name.column.text}` is the column"
        raise sql_error(f"`{name.column.text}` is a column and also the window's", name.span, hint)
    return True

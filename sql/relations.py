"""What the queries of an app can read and write by name, and what stands in FROM: a name, or a query without a sink."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql.errors import did_you_mean, sql_error
from headrace.sql.functions.catalog import Functions
from headrace.sql.limits import check_steps
from headrace.sql.pseudo_columns import with_pseudo_columns
from headrace.sql.scopes import Scope
from headrace.sql.selects import bind_select, distinct
from headrace.sql.unions import united
from headrace.sql.vocabulary import Emit, RelationKind


@dataclass(frozen=True, slots=True)
class Relation:
    """A name that queries can read or write: a declared source, the rows of a query with a sink, or a view."""

    name: str
    kind: RelationKind
    declared: s.CreateRelation | None
    node: p.Node | None
    """What a query that reads it gets; None for a table with a primary key."""
    sink: p.Sink | None
    quoted: frozenset[str]
    created: RelationKind | None
    """As what it was created; None: as a view."""

    @property
    def is_view(self) -> bool:
        return self.declared is None and self.sink is None


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a query: their node, and those of its columns that were named in double quotes."""

    node: p.Node
    quoted: frozenset[str]


@dataclass(frozen=True, slots=True)
class CommonRows:
    """A name of a WITH clause, and the rows that it stands for."""

    name: str
    rows: Rows


Commons = Mapping[str, CommonRows]
"""The names of the WITH clauses around a query, without regard to case where they are not quoted."""


def name_key(name: s.Identifier) -> str:
    """What two spellings of one name have in common."""
    return name.text if name.quoted else name.text.lower()


class Relations:
    """The relations of an app by name, and the queries that read them."""

    def __init__(self, functions: Functions) -> None:
        """`functions` are what the calls of their queries can mean."""
        self._functions = functions
        self._relations: dict[str, Relation] = {}
        self._readers: dict[str, set[str]] = {}
        self.reader = ""
        """What the statement that is read now makes: it is told as the reader of what it reads."""

    def __iter__(self) -> Iterator[Relation]:
        return iter(self._relations.values())

    def __setitem__(self, key: str, relation: Relation) -> None:
        self._relations[key] = relation

    def new_name(self, name: s.Identifier) -> str:
        """The key of a name that is not taken yet."""
        key = name_key(name)
        if key in self._relations:
            raise sql_error(f"`{name.text}` exists already", name.span)
        return key

    def __contains__(self, name: s.Identifier) -> bool:
        return name_key(name) in self._relations

    def find(self, name: s.Identifier, also: Iterable[str] = ()) -> Relation:
        """The relation of a name; the hint of the SqlError knows `also` other names."""
        found = self._relations.get(name_key(name))
        if found is None:
            hint = did_you_mean(name.text, (*also, *(relation.name for relation in self)))
            raise sql_error(f"stream or table `{name.text}` does not exist", name.span, hint)
        return found

    def find_writable(self, name: s.Identifier) -> Relation:
        """The relation of a name that rows can be written into."""
        found = self.find(name)
        if found.is_view:
            raise sql_error(f"`{found.name}` is a view: nothing can be written into it", name.span)
        return found

    def is_read(self, name: s.Identifier) -> bool:
        """Whether a query reads it."""
        return bool(self.readers(name))

    def readers(self, name: s.Identifier) -> list[str]:
        """What reads it, in order."""
        return sorted(self._readers.get(name_key(name), ()))

    def remove(self, name: s.Identifier) -> None:
        """Forget a relation, and that it reads others."""
        gone = self._relations.pop(name_key(name))
        for readers in self._readers.values():
            readers.discard(gone.name)

    def bind(self, query: s.SelectQuery, settings: Mapping[str, str], around: Commons | None = None) -> Rows:
        """The rows of a query, and of all queries inside of it."""
        commons = dict(around or {})
        own: set[str] = set()
        for common in query.commons:
            key = name_key(common.name)
            if key in own:
                raise sql_error(f"`{common.name.text}` is defined twice", common.name.span)
            own.add(key)
            rows = renamed(self.bind(common.query, settings, commons), common.columns)
            commons[key] = CommonRows(common.name.text, rows)
        if isinstance(query, s.Union):
            branches = [(self.bind(branch, settings, commons), branch.span) for branch in query.branches]
            node: p.Node = united([(rows.node, span) for rows, span in branches])
            if query.distinct:
                node = distinct(node, Emit.CHANGES, settings, query.span)
            return Rows(node, branches[0][0].quoted)
        return self._select(query, settings, commons)

    def _select(self, select: s.Select, settings: Mapping[str, str], commons: Commons) -> Rows:
        name, rows = self._source(select.source, settings, commons)
        alias = select.source.alias
        called = alias.text if alias is not None else name
        node = rows.node
        pseudo: tuple[e.Column, ...] = ()
        if isinstance(node, p.Scan) and self._names_source(select.source, commons):
            node, pseudo = with_pseudo_columns(select, node)
        called_by = () if called is None else (called,)
        scope = Scope(rows.node.columns, called_by, rows.quoted, pseudo=pseudo, functions=self._functions)
        node, quoted = bind_select(select, node, scope, settings, rows.quoted)
        check_steps(node, select.source.span)
        return Rows(node, quoted)

    def _names_source(self, reference: s.TableReference, commons: Commons) -> bool:
        """Whether FROM has the name of a source itself, not of a query that gives all of its rows."""
        if not isinstance(reference.relation, s.Identifier) or name_key(reference.relation) in commons:
            return False
        return self.find(reference.relation).declared is not None

    def _source(
        self, reference: s.TableReference, settings: Mapping[str, str], commons: Commons
    ) -> tuple[str | None, Rows]:
        """What FROM names, and its rows."""
        if not isinstance(reference.relation, s.Identifier):
            return None, renamed(self.bind(reference.relation, settings, commons), reference.columns)
        key = name_key(reference.relation)
        if key in commons:
            return commons[key].name, renamed(commons[key].rows, reference.columns)
        relation = self.find(reference.relation, (common.name for common in commons.values()))
        rows = Rows(_readable(relation, reference), relation.quoted)
        self._readers.setdefault(key, set()).add(self.reader)
        return relation.name, renamed(rows, reference.columns)


def _readable(relation: Relation, reference: s.TableReference) -> p.Node:
    if relation.node is not None:
        return relation.node
    if relation.sink is not None:
        raise sql_error(f"reading `{relation.name}`, which several queries write, is not supported yet", reference.span)
    raise sql_error("reading a table with a primary key is not supported yet", reference.span)


def renamed(rows: Rows, names: tuple[s.Identifier, ...]) -> Rows:
    """The rows with the column names of `t (a, b)`, which are all or none."""
    columns = rows.node.columns
    if not names:
        return rows
    if len(names) != len(columns):
        span = names[0].span
        raise sql_error(f"{len(names)} columns are named, the relation has {len(columns)}", span)
    for number, name in enumerate(names):
        if any(name_key(name) == name_key(earlier) for earlier in names[:number]):
            raise sql_error(f"two columns are named `{name.text}`", name.span)
    items: tuple[tuple[str, e.Expr], ...] = tuple(
        (name.text, column) for name, column in zip(names, columns, strict=True)
    )
    return Rows(p.Project(rows.node, items), frozenset(name.text for name in names if name.quoted))

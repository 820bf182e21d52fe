"""The entries of SELECT: the columns of its result, and what their names and positions mean in its other clauses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any, get_args

from headrace.sql import expressions as e
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.bind_expressions import ExpressionBinder
from headrace.sql.errors import Span, did_you_mean, sql_error
from headrace.sql.inspection import walk
from headrace.sql.scopes import Scope


def select_items(select: s.Select, scope: Scope, binder: ExpressionBinder) -> tuple[tuple[str, e.Expr], ...]:
    """Output names and expressions; stars expanded."""
    items: list[tuple[str, e.Expr, Span]] = []
    for item in select.items:
        if isinstance(item.expression, s.Star):
            items.extend(_star_items(item.expression, scope, binder))
        else:
            bound = _storable(binder.bind(item.expression), item.span)
            items.append((_item_name(item, len(items)), bound, item.span))
    seen: set[str] = set()
    for name, _, span in items:
        if name.lower() in seen:
            raise sql_error(f"two columns are named `{name}`", span, "give one an alias with AS")
        seen.add(name.lower())
    return tuple((name, expr) for name, expr, _ in items)


def _storable(bound: e.Expr, span: Span) -> e.Expr:
    """An expression as a column of a result."""
    if bound.type.kind is t.Kind.NULL:
        return e.BareNull(None, t.VARCHAR)
    if not bound.type.is_storable:
        raise sql_error(f"{bound.type} cannot be a column of a result", span, "CAST it to VARCHAR")
    return bound


def _star_items(star: s.Star, scope: Scope, binder: ExpressionBinder) -> Iterator[tuple[str, e.Expr, Span]]:
    """The columns of `*`, or the fields of a STRUCT: without some, others in the place of some, with other names."""
    columns = _star_columns(star, scope)
    without = {_named(name, columns) for name in star.without}
    replaced = {_named(name, columns): expression for name, expression in star.replaced}
    renamed = {_named(old, columns): new.text for old, new in star.renamed}
    written = [*star.without, *(name for name, _ in star.replaced)]
    for names in (written, [*star.without, *(old for old, _ in star.renamed)]):
        for number, name in enumerate(names):
            if any(_named(name, columns) == _named(earlier, columns) for earlier in names[:number]):
                raise sql_error(f"* names `{name.text}` twice", name.span)
    if len(without) == len(columns):
        raise sql_error("no column is left", star.span)
    for column, expr in columns.items():
        if column not in without:
            other = replaced.get(column)
            item = expr if other is None else _storable(binder.bind(other), other.span)
            yield renamed.get(column, column), item, star.span


def _star_columns(star: s.Star, scope: Scope) -> dict[str, e.Expr]:
    if star.qualifier is None:
        return {column.name: column for column in scope.columns}
    if (struct := scope.struct_of(star.qualifier)) is not None:
        return {name: e.Field(struct, name, type_) for name, type_ in struct.type.fields}
    return {column.name: column for column in scope.columns_of(star.qualifier)}


def _named(name: s.Identifier, columns: Iterable[str]) -> str:
    """The column that a name behind `*` means."""
    found = [column for column in columns if name.matches(column)]
    if not found:
        raise sql_error(f"column `{name.text}` does not exist", name.span, did_you_mean(name.text, columns))
    return next((column for column in found if column == name.text), found[0])


def _item_name(item: s.SelectItem, position: int) -> str:
    if item.alias is not None:
        return item.alias.text
    node = item.expression
    while isinstance(node, s.Cast):
        node = node.operand
    match node:
        case s.Name():
            return node.column.text
        case s.FunctionCall():
            return node.name.lower()
    return f"col_{position}"


def item_of(item: s.Expression, select: s.Select, scope: Scope, clause: str) -> s.Expression:
    """An ordinal or an alias in a clause stands for the expression of its SELECT item."""
    items = select.items
    if isinstance(item, s.NumberLiteral) and item.text.isdigit():
        if not 1 <= int(item.text) <= len(items):
            raise sql_error(f"{clause} {item.text}: the query has {len(items)} columns", item.span)
        return items[int(item.text) - 1].expression
    return _aliased(item, select, scope) if isinstance(item, s.Name) else item


def _aliased(name: s.Name, select: s.Select, scope: Scope) -> s.Expression:
    """A name that is no column but an alias stands for the expression of its SELECT item."""
    if name.qualifier is None and not any(name.column.matches(column.name) for column in scope.columns):
        for item in select.items:
            if item.alias is not None and name.column.matches(item.alias.text):
                return item.expression
    return name


_WITH_NAMES = (*get_args(s.Expression), s.OverClause, s.OrderItem)


def with_aliases(expression: s.Expression, select: s.Select, scope: Scope) -> s.Expression:
    """An expression of HAVING or QUALIFY, with what the aliases in it stand for."""

    def meant(part: Any) -> Any:
        if isinstance(part, s.Name):
            return _aliased(part, select, scope)
        if isinstance(part, tuple):
            return tuple(map(meant, part))
        if not isinstance(part, _WITH_NAMES):
            return part
        return replace(part, **{each.name: meant(getattr(part, each.name)) for each in fields(part)})

    found: s.Expression = meant(expression)
    return found


def refuse_aliases(where: s.Expression, select: s.Select, scope: Scope) -> None:
    """SqlError for an alias in WHERE, which sees the columns of FROM."""
    for part in walk(where):
        if isinstance(part, s.Name) and _aliased(part, select, scope) is not part:
            raise sql_error(
                f"`{part.column.text}` is an alias of SELECT, which WHERE does not know",
                part.span,
                "write its expression, or put the SELECT into FROM",
            )

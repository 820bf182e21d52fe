"""What syntax tells before it is bound: its parts, whether a query groups, and whether it has OVER."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.sql import syntax as s
from headrace.sql.errors import Span
from headrace.sql.functions.catalog import Functions


def walk(node: s.Expression) -> Iterable[s.Expression]:
    """A syntax expression and all its parts."""
    yield node
    match node:
        case s.Unary() | s.IsNull() | s.IsTruth() | s.Cast():
            parts: tuple[s.Expression | None, ...] = (node.operand,)
        case s.Binary() | s.IsDistinct():
            parts = (node.left, node.right)
        case s.Between():
            parts = (node.operand, node.low, node.high)
        case s.InList():
            parts = (node.operand, *node.items)
        case s.Like():
            parts = (node.operand, node.pattern, node.escape)
        case s.Case():
            parts = (node.subject, *(part for branch in node.branches for part in branch), node.default)
        case s.FunctionCall():
            order = (item.expression for item in node.order_by)
            parts = (*node.arguments, *order, node.filter)
        case s.FieldAccess():
            parts = (node.operand,)
        case s.ElementAccess():
            parts = (node.operand, node.index)
        case s.Assignment():
            parts = (node.target, node.value)
        case s.Lambda():
            parts = (node.body,)
        case s.OverCall():  # not the call itself, which is no aggregate of a group
            order = (item.expression for item in node.over.order_by)
            parts = (*node.call.arguments, *node.over.partition_by, *order)
        case _:
            parts = ()
    for part in parts:
        if part is not None:
            yield from walk(part)


def is_aggregate(node: s.Expression, functions: Functions) -> bool:
    """Whether an expression is the call of an aggregate function."""
    return isinstance(node, s.FunctionCall) and node.name in functions.aggregates


def is_grouped(select: s.Select, functions: Functions) -> bool:
    """Whether a query groups its rows."""
    return select.group_by is not None or any(
        is_aggregate(part, functions) for item in select.items for part in walk(item.expression)
    )


def groups_inside(query: s.SelectQuery, functions: Functions) -> bool:
    """Whether a query, or one of those inside of it, groups its rows."""
    inner = [common.query for common in query.commons]
    if isinstance(query, s.Union):
        inner += query.branches
        return query.distinct or any(groups_inside(each, functions) for each in inner)
    if not isinstance(query.source.relation, s.Identifier):
        inner.append(query.source.relation)
    return query.distinct or is_grouped(query, functions) or any(groups_inside(each, functions) for each in inner)


def has_over(select: s.Select) -> bool:
    """Whether a column of a query, or its QUALIFY, has OVER."""
    expressions = [item.expression for item in select.items]
    expressions += [select.qualify] if select.qualify is not None else []
    return any(isinstance(part, s.OverCall) for expression in expressions for part in walk(expression))


def over_span(select: s.Select) -> Span:
    """The place of the first OVER of a query, where it has one; else of what it reads."""
    calls = (part for item in select.items for part in walk(item.expression) if isinstance(part, s.OverCall))
    return next((call.span for call in calls), select.source.span)

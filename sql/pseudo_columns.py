"""The pseudo-columns of a source in a query: they are in its rows where the query names them."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql.functions import headers
from headrace.sql.inspection import walk
from headrace.sql.record_parts import HEADERS_COLUMN


def with_pseudo_columns(select: s.Select, node: p.Scan) -> tuple[p.Node, tuple[e.Column, ...]]:
    """The rows of a source with those of its pseudo-columns that a query names; and all of these."""
    pseudo = tuple(column.column for column in node.source.pseudo_columns)
    named = tuple(column for column in pseudo if _names(select, column.name))
    if not named:
        return node, pseudo
    columns = ((column.name, column) for column in (*node.columns, *named))
    return p.Project(node, tuple(columns)), pseudo


def _names(select: s.Select, name: str) -> bool:
    """Whether a query (not one inside of it) names a pseudo-column; a function of headers names theirs."""
    return any(
        (isinstance(part, s.Name) and part.column.matches(name))
        or (isinstance(part, s.FunctionCall) and part.name in headers.BY_NAME and name == HEADERS_COLUMN)
        for expression in _expressions(select)
        for part in walk(expression)
    )


def _expressions(select: s.Select) -> Iterator[s.Expression]:
    """The expressions of a query's clauses."""
    for item in select.items:
        yield item.expression
        if isinstance(item.expression, s.Star):
            yield from (expression for _, expression in item.expression.replaced)
    yield from (array for unnesting in select.unnestings for array in unnesting.arrays)
    yield from select.group_by or ()
    yield from select.partition_by
    yield from (part for part in (select.where, select.having, select.qualify) if part is not None)
    for _, over in select.windows:
        yield from (*over.partition_by, *(item.expression for item in over.order_by))
    windows = (select.window, select.source.window, *(select.group_by or ()), *(i.expression for i in select.items))
    for window in windows:
        if isinstance(window, s.WindowClause) and window.time is not None:
            yield window.time

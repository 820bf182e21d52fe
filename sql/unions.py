"""Binding of UNION: the rows of several queries under the names of the first, converted to what they have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql import types as t
from headrace.sql.errors import Span, sql_error
from headrace.sql.operations import together
from headrace.sql.refusals import check_limited

MOST_BRANCHES = 255


def united(nodes: Sequence[tuple[p.Node, Span]]) -> p.Union:
    """The rows of all nodes, each with the place of its query; SqlError where they do not go together."""
    (first, _), *others = nodes
    if len(nodes) > MOST_BRANCHES:
        raise sql_error(f"a UNION has at most {MOST_BRANCHES} queries", nodes[-1][1])
    for node, span in others:
        if len(node.columns) != len(first.columns):
            raise sql_error(
                f"the queries of a UNION have {len(first.columns)} and {len(node.columns)} columns",
                span,
                "they must have the same number",
            )
    for node, span in nodes:
        check_limited(node, span)
        if p.is_updating(node):
            raise sql_error(
                "UNION with an updating table is not supported: its rows come again when they change",
                span,
                "a windowed table with EMIT FINAL goes",
            )
    last = nodes[-1][1]
    rows = [node for node, _ in nodes]
    columns = [together(_in_place(rows, index), last, "unite") for index in range(len(first.columns))]
    names = [column.name for column in first.columns]
    branches = tuple(
        p.Project(node, tuple((name, same[index]) for name, same in zip(names, columns, strict=True)))
        for index, (node, _) in enumerate(nodes)
    )
    return p.Union(branches, tuple(_common(expr.type for expr in same) for same in columns))


def _in_place(nodes: Sequence[p.Node], index: int) -> list[e.Expr]:
    """The columns of all nodes that stand in one place; a NULL without a type as such where another has one."""
    nulls = [_is_null(node, index) for node in nodes]
    return [
        e.Literal(None, t.NULL) if is_null and not all(nulls) else node.columns[index]
        for node, is_null in zip(nodes, nulls, strict=True)
    ]


def _is_null(node: p.Node, index: int) -> bool:
    while isinstance(node, p.Filter):
        node = node.input
    return isinstance(node, p.Project) and isinstance(node.items[index][1], e.BareNull)


def _common(types: Iterable[t.Type]) -> t.Type:
    """The type of values that are converted already: INT and BIGINT are one in memory."""
    common = t.NULL
    for each in types:
        common = t.common_type(common, each) or common
    return common

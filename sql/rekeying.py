"""PARTITION BY of a query: the rows of its result with another record key."""

from __future__ import annotations

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql.bind_expressions import ExpressionBinder
from headrace.sql.errors import sql_error
from headrace.sql.refusals import check_limited
from headrace.sql.scopes import Scope
from headrace.sql.select_items import item_of


def record_keys(select: s.Select, scope: Scope, binder: ExpressionBinder) -> list[e.Expr]:
    """The entries of PARTITION BY, over the rows that the SELECT reads."""
    keys: list[e.Expr] = []
    for item in select.partition_by:
        expr = binder.bind(item_of(item, select, scope, "PARTITION BY"))
        if not (expr.type.is_storable and expr.type.has_keys):
            raise sql_error(f"cannot partition by {expr.type}", item.span)
        keys.append(expr)
    return keys


def rekeyed_below(select: s.Select, node: p.Node, keys: list[e.Expr]) -> tuple[p.Node, dict[e.Expr, e.Column]]:
    """Rows with another record key, and the columns of what was computed for it."""
    _refuse_rekeying(select, node)
    computed: dict[e.Expr, e.Column] = {}
    columns: list[e.Column] = []
    taken = {column.name for column in node.columns}
    for expr in keys:
        if isinstance(expr, e.Column):
            columns.append(expr)
            continue
        name = e.free_name(f"key_{len(columns)}", taken)
        taken.add(name)
        columns.append(computed.setdefault(expr, e.Column(name, expr.type, expr.nullable)))
    if computed:
        given = ((column.name, column) for column in node.columns)
        node = p.Project(node, (*given, *((column.name, expr) for expr, column in computed.items())))
    return p.Rekey(node, tuple(dict.fromkeys(columns))), computed


def rekeyed_above(select: s.Select, node: p.Node, quoted: frozenset[str]) -> p.Node:
    """The rows of a SELECT that groups, with the key of PARTITION BY: columns of its result."""
    _refuse_rekeying(select, node)
    scope = Scope(node.columns, (), quoted)
    keys: list[e.Column] = []
    for item in select.partition_by:
        if not isinstance(item, s.Name):
            raise sql_error("PARTITION BY takes columns of the result here", item.span, "give the expression a name")
        keys.append(scope.resolve(item))
    return p.Rekey(node, tuple(dict.fromkeys(keys)))


def _refuse_rekeying(select: s.Select, node: p.Node) -> None:
    check_limited(node, select.source.span)
    if p.is_updating(node):
        raise sql_error(
            "PARTITION BY is for streams: rows of an updating table replace each other by their key",
            select.partition_by[0].span,
            "GROUP BY chooses the key of a table",
        )

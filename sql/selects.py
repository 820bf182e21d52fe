"""Binding of a SELECT over the rows of a relation: WHERE, then the kind of query that it is, then its record key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql.bind_expressions import ExpressionBinder
from headrace.sql.errors import Span, sql_error
from headrace.sql.groups import GroupBinder
from headrace.sql.inspection import has_over, is_grouped
from headrace.sql.options import duration_ms
from headrace.sql.overs import OverBinder
from headrace.sql.refusals import check_limited
from headrace.sql.rekeying import record_keys, rekeyed_above, rekeyed_below
from headrace.sql.scopes import Scope
from headrace.sql.select_items import refuse_aliases, select_items, with_aliases
from headrace.sql.tops import filtered
from headrace.sql.unnesting import Explosions, unnested
from headrace.sql.vocabulary import Emit


def bind_select(
    select: s.Select, node: p.Node, scope: Scope, settings: Mapping[str, str], source_quoted: frozenset[str]
) -> tuple[p.Node, frozenset[str]]:
    """The node of a query over the rows of `node`, and those of its columns that were named in double quotes."""
    for unnesting in select.unnestings:
        node, scope = unnested(node, scope, unnesting)
    if select.where is not None:
        refuse_aliases(select.where, select, scope)
        node = filtered(node, ExpressionBinder(scope).bind_predicate(select.where), select.where.span)
    check_limited(node, select.source.span)
    if select.qualify is not None and not has_over(select):
        raise sql_error("QUALIFY needs OVER", select.qualify.span, "WHERE filters rows, HAVING groups")
    if select.windows and not has_over(select):
        raise sql_error(f"window `{select.windows[0][0].text}` is not used", select.windows[0][0].span)
    quoted = frozenset(item.alias.text for item in select.items if item.alias is not None and item.alias.quoted)
    if select.distinct:
        rows, quoted = _bind_distinct(select, node, scope, settings, source_quoted)
    elif has_over(select):
        rows = _bind_over(select, node, scope, settings)
    elif is_grouped(select, scope.functions):
        rows = GroupBinder(select, node, scope, settings).bind()
    else:
        return _bind_plain(select, node, scope, source_quoted)
    return (rekeyed_above(select, rows, quoted) if select.partition_by else rows), quoted


def _bind_plain(
    select: s.Select, node: p.Node, scope: Scope, source_quoted: frozenset[str]
) -> tuple[p.Node, frozenset[str]]:
    _refuse_grouping_clauses(select, node)
    quoted = frozenset(item.alias.text for item in select.items if item.alias is not None and item.alias.quoted)
    explosions = Explosions(node)
    binder = ExpressionBinder(scope, arrays=explosions)
    items = select_items(select, scope, binder)
    keys = record_keys(select, scope, binder)
    node = explosions.node(select.span)
    if keys:
        node, computed = rekeyed_below(select, node, keys)
        items = tuple((name, computed.get(expr, expr)) for name, expr in items)
    if len(items) == len(node.columns) and all(
        expr == column and name == column.name for (name, expr), column in zip(items, node.columns, strict=True)
    ):
        return node, quoted | source_quoted
    return p.Project(node, items), quoted


def _bind_distinct(
    select: s.Select, node: p.Node, scope: Scope, settings: Mapping[str, str], source_quoted: frozenset[str]
) -> tuple[p.Node, frozenset[str]]:
    """SELECT DISTINCT is GROUP BY of all columns; over the rows of windows, of those and the window."""
    all_rows = replace(select, distinct=False, partition_by=())
    window = select.window or select.source.window
    if window is not None and not is_grouped(select, scope.functions) and not has_over(select):
        if any(isinstance(item.expression, s.Star) for item in select.items):
            raise sql_error("SELECT DISTINCT over windows names its columns", select.span, "window_start among them")
        windowed = replace(all_rows, group_by=tuple(item.expression for item in select.items))
        return bind_select(replace(windowed, where=None), node, scope, settings, source_quoted)
    emit = None if is_grouped(select, scope.functions) else select.emit
    if emit is not None and emit.every_ms is not None:
        raise sql_error("EMIT EVERY does not go with SELECT DISTINCT: a row comes out once", emit.span)
    if not is_grouped(select, scope.functions):
        all_rows = replace(all_rows, emit=None)
    rows, quoted = bind_select(replace(all_rows, where=None), node, scope, settings, source_quoted)
    return distinct(rows, Emit.CHANGES if emit is None else emit.emit, settings, select.span), quoted


def distinct(node: p.Node, emit: Emit, settings: Mapping[str, str], span: Span) -> p.Node:
    """Each row of a node once: when it comes first, or at the end of a finite run."""
    if p.is_updating(node):
        raise sql_error(
            "DISTINCT over the changes of an updating table is not supported: its rows come again when they change",
            span,
            "read a windowed table with EMIT FINAL, or the stream itself",
        )
    for column in node.columns:
        if not column.type.has_keys:
            raise sql_error(f"DISTINCT does not take {column.type} (`{column.name}`)", span)
    ttl = settings.get("ttl") if emit is Emit.CHANGES else None
    keys = tuple((column.name, column) for column in node.columns)
    ttl_ms = duration_ms(ttl, span) if ttl else None
    return p.Aggregate(node, keys, None, (), emit, None, ttl_ms)


def _bind_over(select: s.Select, node: p.Node, scope: Scope, settings: Mapping[str, str]) -> p.Node:
    overs = OverBinder(select, node, scope, settings)
    _refuse_grouping_clauses(select, node)
    binder = ExpressionBinder(scope, overs=overs)
    items = select_items(select, scope, binder)
    if select.qualify is None:
        node = overs.node()
    else:
        condition = binder.bind_predicate(with_aliases(select.qualify, select, scope))
        node = filtered(overs.node(), condition, select.qualify.span)
    return p.Project(node, tuple((name, overs.known(expr)) for name, expr in items))


def _refuse_grouping_clauses(select: s.Select, node: p.Node) -> None:
    if select.having is not None:
        raise sql_error("HAVING needs GROUP BY", select.having.span)
    if select.source.window is not None or select.window is not None:
        raise sql_error("a window needs GROUP BY", (select.window or select.source.window or select).span)
    if select.emit is not None and select.emit.emit is Emit.FINAL:
        why = (
            "these rows replace each other until the run ends" if p.is_updating(node) else "every row is final at once"
        )
        raise sql_error(f"EMIT FINAL needs GROUP BY: without it {why}", select.span)
    if select.emit is not None and select.emit.every_ms is not None:
        raise sql_error("EMIT EVERY needs GROUP BY: without it every row goes out at once", select.emit.span)

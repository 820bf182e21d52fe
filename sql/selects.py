"""Binding of a SELECT over the rows of a relation: WHERE, GROUP BY, windows, HAVING and the output columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql import windows as w
from headrace.sql.aggregate_calls import is_aggregate
from headrace.sql.bind_windows import bind_window
from headrace.sql.binding import ExpressionBinder, Grouping, Scope, names_window, walk
from headrace.sql.errors import Span, sql_error
from headrace.sql.functions.catalog import Functions
from headrace.sql.options import duration_ms
from headrace.sql.overs import OverBinder, check_limited, has_over, refuse_rows_behind_time
from headrace.sql.tops import filtered
from headrace.sql.unnesting import Explosions, unnested

_WINDOW_COLUMNS = (p.WINDOW_START, p.WINDOW_END)


def bind_select(
    select: s.Select, node: p.Node, scope: Scope, settings: Mapping[str, str], source_quoted: frozenset[str]
) -> tuple[p.Node, frozenset[str]]:
    """The node of a query over the rows of `node`, and those of its columns that were named in double quotes."""
    for unnesting in select.unnestings:
        node, scope = unnested(node, scope, unnesting)
    if select.where is not None:
        node = filtered(node, ExpressionBinder(scope).bind_predicate(select.where), select.where.span)
    check_limited(node, select.source.span)
    quoted = frozenset(item.alias.text for item in select.items if item.alias is not None and item.alias.quoted)
    if has_over(select):
        return _bind_over(select, node, scope, settings), quoted
    if select.windows:
        raise sql_error(f"window `{select.windows[0][0].text}` is not used", select.windows[0][0].span)
    if is_grouped(select, scope.functions):
        return _SelectGrouped(select, node, scope, settings).bind(), quoted
    _refuse_grouping_clauses(select, node)
    explosions = Explosions(node)
    items = _select_items(select, scope, ExpressionBinder(scope, arrays=explosions))
    node = explosions.node(select.span)
    if len(items) == len(node.columns) and all(
        expr == column and name == column.name for (name, expr), column in zip(items, node.columns, strict=True)
    ):
        return node, quoted | source_quoted
    return p.Project(node, items), quoted


def _bind_over(select: s.Select, node: p.Node, scope: Scope, settings: Mapping[str, str]) -> p.Node:
    overs = OverBinder(select, node, scope, settings)
    _refuse_grouping_clauses(select, node)
    items = _select_items(select, scope, ExpressionBinder(scope, overs=overs))
    return p.Project(overs.node(), tuple((name, overs.known(expr)) for name, expr in items))


def _refuse_grouping_clauses(select: s.Select, node: p.Node) -> None:
    if select.having is not None:
        raise sql_error("HAVING needs GROUP BY", select.having.span)
    if select.source.window is not None or select.window is not None:
        raise sql_error("a window needs GROUP BY", (select.window or select.source.window or select).span)
    if select.emit is not None and select.emit.emit is s.Emit.FINAL:
        why = (
            "these rows replace each other until the run ends" if p.is_updating(node) else "every row is final at once"
        )
        raise sql_error(f"EMIT FINAL needs GROUP BY: without it {why}", select.span)
    if select.emit is not None and select.emit.every_ms is not None:
        raise sql_error("EMIT EVERY needs GROUP BY: without it every row goes out at once", select.emit.span)


def is_grouped(select: s.Select, functions: Functions) -> bool:
    """Whether a query groups its rows."""
    return select.group_by is not None or any(
        is_aggregate(part, functions) for item in select.items for part in walk(item.expression)
    )


def groups_inside(select: s.Select, functions: Functions) -> bool:
    """Whether a query, or one of those inside of it, groups its rows."""
    inner = [common.query for common in select.commons]
    if isinstance(select.source.relation, s.Select):
        inner.append(select.source.relation)
    return is_grouped(select, functions) or any(groups_inside(query, functions) for query in inner)


def _select_items(select: s.Select, scope: Scope, binder: ExpressionBinder) -> tuple[tuple[str, e.Expr], ...]:
    """Output names and expressions; stars expanded."""
    items: list[tuple[str, e.Expr, Span]] = []
    for item in select.items:
        if isinstance(item.expression, s.Star):
            qualifier = item.expression.qualifier
            if qualifier is not None and (struct := scope.struct_of(qualifier)) is not None:
                items.extend((name, e.Field(struct, name, type_), item.span) for name, type_ in struct.type.fields)
                continue
            columns = scope.columns if qualifier is None else scope.columns_of(qualifier)
            items.extend((column.name, column, item.span) for column in columns)
        else:
            bound = binder.bind(item.expression)
            if bound.type.kind is t.Kind.NULL:
                bound = e.Literal(None, t.VARCHAR)
            if not bound.type.is_storable:
                raise sql_error(f"{bound.type} cannot be a column of a result", item.span, "CAST it to VARCHAR")
            items.append((_item_name(item, len(items)), bound, item.span))
    seen: set[str] = set()
    for name, _, span in items:
        if name.lower() in seen:
            raise sql_error(f"two columns are named `{name}`", span, "give one an alias with AS")
        seen.add(name.lower())
    return tuple((name, expr) for name, expr, _ in items)


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


class _SelectGrouped:
    """A SELECT with GROUP BY or aggregate calls: Aggregate, then HAVING, then the output expressions."""

    def __init__(self, select: s.Select, node: p.Node, scope: Scope, settings: Mapping[str, str]) -> None:
        self._select = select
        self._node = node
        self._scope = scope
        self._settings = settings

    def bind(self) -> p.Node:
        select = self._select
        if p.is_updating(self._node):
            raise sql_error(
                "grouping the changes of an updating table is not supported yet",
                select.source.span,
                "read a windowed table with EMIT FINAL, or the stream itself",
            )
        refuse_rows_behind_time(self._node, select, "GROUP BY")
        clause, group_by = self._window_clause()
        window = self._window(clause, group_by)
        keys = self._keys(group_by)
        columns = tuple(e.Column(name, t.TIMESTAMP, False) for name in (p.WINDOW_START, p.WINDOW_END)) if window else ()
        grouping = Grouping(keys, columns)
        above = ExpressionBinder(self._scope, grouping)
        if any(isinstance(item.expression, s.Star) for item in select.items):
            star = next(item for item in select.items if isinstance(item.expression, s.Star))
            raise sql_error("* does not go with GROUP BY", star.span, "name the keys and the aggregates")
        for item in select.items:
            if isinstance(item.expression, s.WindowClause) and item.expression.time is not None:
                self._check_time(item.expression.time)
        if clause is not None:
            select = replace(select, items=tuple(_with_bounds(select.items, clause)))
        items = _select_items(select, self._scope, above)
        if window is not None:
            _check_key_names(select, items, {name for name, _ in keys})
        having = above.bind_predicate(select.having) if select.having is not None else None
        if isinstance(window, w.Session):
            _check_mergeable(grouping, select)
        default = self._settings.get("emit") if window else None
        emit = select.emit.emit if select.emit else s.Emit(default or ("final" if window else "changes"))
        every_ms = select.emit.every_ms if select.emit else None
        if every_ms is not None and every_ms <= 0:
            raise sql_error("EMIT EVERY takes a time above zero", (select.emit or select).span)
        ends = window is None and emit is s.Emit.CHANGES and every_ms is None
        ttl = self._settings.get("ttl") if ends else None
        aggregate = p.Aggregate(
            self._node,
            keys,
            window,
            tuple((name, call) for call, name in grouping.calls.items()),
            emit,
            p.Changes(self._settings.get("changes", p.Changes.EVERY)),
            duration_ms(ttl, select.span) if ttl else None,
            every_ms,
        )
        return p.Project(p.Filter(aggregate, having) if having is not None else aggregate, items)

    def _window_clause(self) -> tuple[s.WindowClause | None, list[s.Expression]]:
        """The one window of the query, wherever it is written, and the other entries of GROUP BY."""
        select = self._select
        found = [clause for clause in (select.window, select.source.window) if clause is not None]
        rest: list[s.Expression] = []
        is_named = False
        for item in select.group_by or ():
            meant = self._item_of(item)
            match item:
                case _ if isinstance(meant, s.WindowClause):
                    found.append(meant)
                case s.Name() if found and names_window(item, self._scope):
                    is_named = True
                case _:
                    rest.append(item)
        if len(found) > 1:
            raise sql_error("a query has one window", found[1].span)
        if select.source.window is not None and not is_named:
            raise sql_error("GROUP BY must name window_start or window_end", select.source.window.span)
        return (found[0] if found else None), rest

    def _window(self, clause: s.WindowClause | None, group_by: list[s.Expression]) -> w.Window | None:
        if clause is None:
            return None
        if clause.time is not None:
            self._check_time(clause.time)
        if clause.kind is s.WindowKind.SESSION and clause.partition_by is not None:
            self._check_partition_by(clause, clause.partition_by, group_by)
        return bind_window(clause)

    def _check_partition_by(
        self, clause: s.WindowClause, partition_by: tuple[s.Identifier, ...], group_by: list[s.Expression]
    ) -> None:
        """Sessions are those of a group: what Flink partitions by must be what the query groups by."""
        keys = {self._scope.resolve(item).name for item in group_by if isinstance(item, s.Name)}
        named = {self._scope.resolve(s.Name(name, None, name.span)).name for name in partition_by}
        if named != keys or len(keys) < len(group_by):
            raise sql_error(
                "sessions are partitioned by the columns that the query groups by",
                clause.span,
                f"for example SESSION(TABLE … PARTITION BY {', '.join(sorted(keys)) or '…'}, DESCRIPTOR(…), …)",
            )

    def _check_time(self, time: s.Expression) -> None:
        """Windows are over the event time of the source: a column named for it must be that one."""
        if not isinstance(time, s.Name):
            raise sql_error("a window takes a column as its time", time.span)
        column = self._scope.resolve(time)
        event_time = _event_time_column(self._node)
        if event_time is None:
            scan = p.scan_of(self._node)
            if p.aggregate_of(self._node) is None and scan.source.event_time.column is None:
                raise sql_error(
                    f"`{time.column.text}` is not declared as the event time of `{scan.source.name}`",
                    time.span,
                    f"add WATERMARK FOR {time.column.text} AS {time.column.text} - INTERVAL '5' SECOND to it",
                )
            raise sql_error(
                f"`{time.column.text}` is not the event time of these rows", time.span, "leave the time column out"
            )
        if column.name != event_time:
            raise sql_error(
                f"`{time.column.text}` is not the event time of these rows", time.span, f"it is `{event_time}`"
            )

    def _keys(self, group_by: list[s.Expression]) -> tuple[tuple[str, e.Expr], ...]:
        binder = ExpressionBinder(self._scope)
        keys: list[tuple[str, e.Expr]] = []
        for item in group_by:
            node = self._item_of(item)
            if any(is_aggregate(part, self._scope.functions) for part in walk(node)):
                raise sql_error("GROUP BY cannot hold an aggregate function", node.span)
            expr = binder.bind(node)
            if not (expr.type.is_storable and expr.type.has_keys):
                raise sql_error(f"cannot group by {expr.type}", node.span)
            if all(expr != known for _, known in keys):
                columns = {column.name for column in self._scope.columns}
                name = e.free_name(f"key_{len(keys)}", columns)
                if isinstance(expr, e.Column) and expr.name not in _WINDOW_COLUMNS:
                    name = expr.name
                keys.append((name, expr))
        return tuple(keys)

    def _item_of(self, item: s.Expression) -> s.Expression:
        """An ordinal or an alias stands for the expression of its SELECT item."""
        items = self._select.items
        if isinstance(item, s.NumberLiteral) and item.text.isdigit():
            if not 1 <= int(item.text) <= len(items):
                raise sql_error(f"GROUP BY {item.text}: the query has {len(items)} columns", item.span)
            return items[int(item.text) - 1].expression
        if isinstance(item, s.Name) and item.qualifier is None:
            is_column = any(item.column.matches(column.name) for column in self._scope.columns)
            for candidate in () if is_column else items:
                if candidate.alias is not None and item.column.matches(candidate.alias.text):
                    return candidate.expression
        return item


def _check_mergeable(grouping: Grouping, select: s.Select) -> None:
    """A row between two sessions makes one of them, so their states must become one."""
    for call in grouping.calls:
        if not call.function.mergeable:
            name = call.function.name
            raise sql_error(
                f"{name} has no `merge`, which sessions need", select.span, "merge(self, other) in its class"
            )


def _with_bounds(items: tuple[s.SelectItem, ...], window: s.WindowClause) -> Iterator[s.SelectItem]:
    """Arroyo's `TUMBLE(…) AS w` among the columns is the window of the query: two columns, `w.start` and `w.end`."""
    for item in items:
        if not isinstance(item.expression, s.WindowClause) or not _is_same(item.expression, window):
            yield item
            continue
        name = item.alias.text if item.alias is not None else "window"
        for call, bound in (("TUMBLE_START", "start"), ("TUMBLE_END", "end")):
            expression = s.FunctionCall(call, (), False, False, item.span)
            yield s.SelectItem(expression, s.Identifier(f"{name}.{bound}", False, item.span), item.span)


def _is_same(one: s.WindowClause, other: s.WindowClause) -> bool:
    """Whether two clauses are written alike."""

    def shape(window: s.WindowClause) -> tuple[object, ...]:
        zone = window.zone.value if window.zone is not None else None
        return window.kind, window.size_ms, window.step_ms, window.offset_ms, window.grace_ms, zone

    return one is other or shape(one) == shape(other)


def _check_key_names(select: s.Select, items: tuple[tuple[str, e.Expr], ...], keys: set[str]) -> None:
    """The record key of a windowed row has the window beside the keys: none of them may be called like it."""
    for item, (name, expr) in zip(select.items, items, strict=True):
        if name in _WINDOW_COLUMNS and isinstance(expr, e.Column) and expr.name in keys:
            raise sql_error(
                f"the key `{name}` would be called like the window's", item.span, "give it an alias with AS"
            )


def _event_time_column(node: p.Node) -> str | None:
    """The column that holds the event time of a node's rows; None where none does."""
    match node:
        case p.Scan():
            return node.source.event_time.column
        case p.Filter() | p.Unnest() | p.Over():
            return _event_time_column(node.input)
        case p.Project():
            inner = _event_time_column(node.input)
            for name, expr in node.items:
                if isinstance(expr, e.Column) and expr.name == inner:
                    return name
    return None

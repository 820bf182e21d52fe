"""Binding of a SELECT that groups: its window and keys below, its aggregate calls, HAVING and columns above."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql import windows as w
from headrace.sql.bind_expressions import WINDOW_CALLS, ExpressionBinder, Grouping
from headrace.sql.bind_windows import bind_window, check_window_call
from headrace.sql.errors import sql_error
from headrace.sql.event_times import event_time_columns
from headrace.sql.inspection import is_aggregate, walk
from headrace.sql.options import duration_ms
from headrace.sql.refusals import refuse_rows_behind_time, refuse_times_by_arrival
from headrace.sql.scopes import Scope, names_window
from headrace.sql.select_items import item_of, select_items, with_aliases
from headrace.sql.vocabulary import Emit

_WINDOW_COLUMNS = (p.WINDOW_START, p.WINDOW_END)


class GroupBinder:
    """One SELECT with GROUP BY or aggregate calls; `bind` makes its Aggregate, then HAVING, then the output columns."""

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
        if window is not None:
            refuse_times_by_arrival(self._node, select, "a window")
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
            self._check_window_calls(clause)
            select = replace(select, items=tuple(_with_bounds(select.items, clause)))
        items = select_items(select, self._scope, above)
        if window is not None:
            _check_key_names(select, items, {name for name, _ in keys})
        having: e.Expr | None = None
        if select.having is not None:
            having = above.bind_predicate(with_aliases(select.having, select, self._scope))
        if isinstance(window, w.Session):
            _check_mergeable(grouping, select)
        aggregate = self._aggregate(grouping, window)
        return p.Project(p.Filter(aggregate, having) if having is not None else aggregate, items)

    def _aggregate(self, grouping: Grouping, window: w.Window | None) -> p.Aggregate:
        """The groups, with the calls that were collected, and when their rows come out."""
        select = self._select
        default = self._settings.get("emit") if window else None
        emit = select.emit.emit if select.emit else Emit(default or ("final" if window else "changes"))
        every_ms = select.emit.every_ms if select.emit else None
        if every_ms is not None and every_ms <= 0:
            raise sql_error("EMIT EVERY takes a time above zero", (select.emit or select).span)
        ends = window is None and emit is Emit.CHANGES and every_ms is None
        ttl = self._settings.get("ttl") if ends else None
        calls = tuple((name, call) for call, name in grouping.calls.items())
        if any(call.aggregation.ordered for _, call in calls):
            refuse_times_by_arrival(self._node, select, "a function of the order of rows")
        return p.Aggregate(
            self._node,
            grouping.keys,
            window,
            calls,
            emit,
            p.Changes(self._settings.get("changes", p.Changes.EVERY)),
            duration_ms(ttl, select.span) if ttl else None,
            every_ms,
        )

    def _window_clause(self) -> tuple[s.WindowClause | None, list[s.Expression]]:
        """The one window of the query, wherever it is written, and the other entries of GROUP BY."""
        select = self._select
        found = [clause for clause in (select.window, select.source.window) if clause is not None]
        rest: list[s.Expression] = []
        is_named = False
        for item in select.group_by or ():
            meant = item_of(item, select, self._scope, "GROUP BY")
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

    def _check_window_calls(self, clause: s.WindowClause) -> None:
        """`TUMBLE_START(time, size)` is of the query's window: what it says of the window must be true."""
        roots = [item.expression for item in self._select.items]
        roots += [] if self._select.having is None else [self._select.having]
        for call in (part for root in roots for part in walk(root)):
            if isinstance(call, s.FunctionCall) and call.name in WINDOW_CALLS:
                check_window_call(call, clause)
                for time in call.arguments:
                    if not isinstance(time, s.IntervalLiteral):
                        self._check_time(time)

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
        event_times = event_time_columns(self._node)
        if column.name in event_times:
            return
        if column in self._scope.pseudo:
            raise sql_error(f"`{time.column.text}` is not the event time of these rows", time.span, "ROWTIME is")
        shown = event_times & {known.name for known in self._scope.columns}
        if not shown:
            origin = p.origin_of(self._node)
            if isinstance(origin, p.Scan) and origin.source.event_time.column is None:
                raise sql_error(
                    f"`{time.column.text}` is not declared as the event time of `{origin.source.name}`",
                    time.span,
                    f"add WATERMARK FOR {time.column.text} AS {time.column.text} - INTERVAL '5' SECOND to it",
                )
            raise sql_error(
                f"`{time.column.text}` is not the event time of these rows", time.span, "leave the time column out"
            )
        raise sql_error(f"`{time.column.text}` is not the event time of these rows", time.span, f"it is `{min(shown)}`")

    def _keys(self, group_by: list[s.Expression]) -> tuple[tuple[str, e.Expr], ...]:
        binder = ExpressionBinder(self._scope)
        keys: list[tuple[str, e.Expr]] = []
        for item in group_by:
            node = item_of(item, self._select, self._scope, "GROUP BY")
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

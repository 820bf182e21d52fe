"""Binding of a SELECT with OVER: its calls over the rows of a partition, in the order of event time or another one."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.aggregate_calls import check_plain
from headrace.sql.bind_expressions import ExpressionBinder
from headrace.sql.errors import did_you_mean, near_name, sql_error
from headrace.sql.event_times import is_windowed, time_columns
from headrace.sql.functions import windows
from headrace.sql.inspection import is_grouped, over_span
from headrace.sql.operations import together, type_of
from headrace.sql.refusals import refuse_rows_behind_time, refuse_times_by_arrival
from headrace.sql.scopes import Scope
from headrace.sql.vocabulary import FrameUnit

AWAY_MAX = 10_000
AHEAD_MAX = 100
_RANKS = ("ROW_NUMBER", "RANK", "DENSE_RANK")
_ALL_BEFORE = e.Frame(FrameUnit.RANGE, None)


class OverBinder:
    """The OVER calls of one SELECT, collected while its columns are bound; then `node` has their results."""

    def __init__(self, select: s.Select, node: p.Node, scope: Scope, settings: Mapping[str, str]) -> None:
        self._select = select
        self._input = node
        self._scope = scope
        self._settings = settings
        self._plain = ExpressionBinder(scope)
        self._times = time_columns(node)
        self._named = _NamedWindows(select.windows)
        self._computed: dict[e.Expr, e.Column] = {}
        self._taken = {column.name for column in node.columns}
        self._keys: tuple[e.Column, ...] = ()
        self._order: tuple[p.SortKey, ...] | None = None
        self._shared: s.OverClause | None = None
        self._calls: dict[e.OverCall, str] = {}
        self._check()

    def _check(self) -> None:
        select = self._select
        if is_grouped(select, self._scope.functions):
            raise sql_error(
                "OVER does not go with GROUP BY in one SELECT",
                over_span(select),
                "group in a query of its own: SELECT … OVER (…) FROM (SELECT … GROUP BY …)",
            )
        if p.is_updating(self._input):
            raise sql_error(
                "OVER over the changes of an updating table is not supported: its rows come again when they change",
                select.source.span,
                "read a windowed table with EMIT FINAL, or the stream itself",
            )
        refuse_rows_behind_time(self._input, select, "OVER")
        refuse_times_by_arrival(self._input, select, "OVER")

    def call(self, node: s.OverCall) -> e.Column:
        """The column of a call's results."""
        clause = self._named.resolved(node.over)
        self._share(node, clause)
        bound = self._bind(node.call, clause)
        name = self._calls.get(bound)
        if name is None:
            name = self._calls[bound] = self._free(f"{bound.name.lower()}_{len(self._calls)}")
        return e.Column(name, bound.type, bound.nullable)

    def known(self, expression: e.Expr) -> e.Expr:
        """The column in which an expression of PARTITION BY or ORDER BY stands already."""
        return self._computed.get(expression, expression)

    def node(self) -> p.Node:
        """The rows with the columns of the calls."""
        self._named.check_used()
        below = self._input
        if self._computed:
            columns = ((column.name, column) for column in below.columns)
            computed = ((column.name, expr) for expr, column in self._computed.items())
            below = p.Project(below, (*columns, *computed))
        if self._order is None:
            if p.is_unnested(below):
                raise sql_error(
                    "OVER over the elements of arrays is not supported: those of one record have no order in time",
                    over_span(self._select),
                    "WITH ORDINALITY numbers them",
                )
            return p.Over(below, self._keys, tuple((name, call) for call, name in self._calls.items()))
        (number,) = self._calls.values()
        last = self._order[-1]
        newest_first = last.column.name in self._times and last.descending
        windowed = is_windowed(below) and any(column.name in self._times for column in self._keys)
        changes = p.Changes(self._settings.get("changes", p.Changes.EVERY))
        return p.TopN(below, self._keys, self._order, newest_first, number, None, windowed, changes)

    # What all calls share: partitions and order

    def _share(self, node: s.OverCall, clause: s.OverClause) -> None:
        keys = tuple(key for item in clause.partition_by for key in self._keys_of(item))
        order = self._bind_order(node, clause)
        if self._shared is None:
            self._shared, self._keys, self._order = clause, tuple(dict.fromkeys(keys)), order
        elif tuple(dict.fromkeys(keys)) != self._keys or order != self._order:
            raise sql_error(
                "all OVER of one SELECT have the same PARTITION BY and ORDER BY",
                node.over.span,
                "put one of them into a query in FROM",
            )

    def _keys_of(self, item: s.Expression) -> tuple[e.Column, ...]:
        if isinstance(item, s.Name) and item.qualifier is None and (bounds := self._scope.bounds_of(item.column)):
            return bounds
        expr = self._plain.bind(item)
        if not (expr.type.is_storable and expr.type.has_keys):
            raise sql_error(f"cannot partition by {expr.type}", item.span)
        return (self._column(expr, "key"),)

    def _bind_order(self, node: s.OverCall, clause: s.OverClause) -> tuple[p.SortKey, ...] | None:
        """None: by event time. SqlError where a call needs just that, and has another order."""
        if not clause.order_by:
            if clause.buffer_rows is not None:
                return None
            raise sql_error("OVER needs ORDER BY", node.over.span, self._time_hint())
        order = tuple(self._sort_key(item) for item in clause.order_by)
        if len(order) == 1 and not order[0].descending and order[0].column.name in self._times:
            return None
        place = clause.order_by[0].span
        name = node.call.name
        if name in ("RANK", "DENSE_RANK"):
            raise sql_error(
                f"{name} in another order than that of event time is not supported: rows of one rank are any number",
                place,
                "ROW_NUMBER numbers them",
            )
        if name != "ROW_NUMBER":
            raise sql_error(f"{name} OVER takes the order of event time, ascending", place, self._time_hint())
        if clause.frame is not None or clause.buffer_rows is not None:
            raise sql_error("ROW_NUMBER in another order than that of event time takes no frame", clause.span)
        return order

    def _time_hint(self) -> str:
        for columns in (self._scope.columns, self._scope.pseudo):
            if known := self._times & {column.name for column in columns}:
                return f"ORDER BY {min(known)}"
        return "the event time is no column of these rows: declare it with WATERMARK FOR, and select it"

    def _sort_key(self, item: s.OrderItem) -> p.SortKey:
        expr = self._plain.bind(item.expression)
        if not (expr.type.is_storable and expr.type.is_ordered):
            raise sql_error(f"cannot order by {expr.type}", item.span)
        return p.SortKey(self._column(expr, "order"), item.descending, item.nulls_first)

    def _column(self, expr: e.Expr, what: str) -> e.Column:
        """The column of an expression, computed before rows wait: what is wrong with a record is told with it."""
        if isinstance(expr, e.Column):
            return expr
        if expr not in self._computed:
            name = self._free(f"{what}_{len(self._computed)}")
            self._computed[expr] = e.Column(name, expr.type, expr.nullable)
        return self._computed[expr]

    def _free(self, name: str) -> str:
        name = e.free_name(name, self._taken)
        self._taken.add(name)
        return name

    # Calls

    def _bind(self, call: s.FunctionCall, clause: s.OverClause) -> e.OverCall:
        function = windows.BY_NAME.get(call.name)
        aggregate = self._scope.functions.aggregates.get(call.name)
        if function is None and aggregate is not None:
            function = windows.BY_NAME.get(aggregate.name)  # FIRST and LAST
        if function is not None:
            return self._window_call(call, function, clause)
        if call.name in windows.OF_WHOLE_PARTITIONS:
            raise sql_error(
                f"{call.name} needs all rows of a partition, and a stream has no last one",
                call.span,
                "RANK() and COUNT(*) OVER say where a row stands among those so far",
            )
        if aggregate is None:
            near = near_name(call.name, (*windows.BY_NAME, *self._scope.functions.aggregates))
            hint = f"did you mean `{near}`?" if near else None
            raise sql_error(f"{call.name} cannot stand before OVER", call.span, hint)
        bound = self._plain.bind_aggregate(call).over(lambda expr: self._column(expr, "operand"))
        return e.OverCall(bound.function.name, bound, None, 0, None, _frame(clause), bound.type, bound.nullable)

    def _window_call(self, call: s.FunctionCall, function: windows.WindowFunction, clause: s.OverClause) -> e.OverCall:
        name = function.name
        check_plain(call)
        if len(call.arguments) not in function.operands:
            shown = f"{name}({', '.join(function.parameters)})"
            raise sql_error(f"{name} takes other operands", call.span, f"it is {shown}")
        frame = _frame(clause)
        if not function.framed and clause.frame is not None:
            raise sql_error(f"{name} takes no frame: it looks at all rows of the partition", clause.frame.span)
        if name in _RANKS:
            return e.OverCall(name, None, None, 0, None, None, t.BIGINT, False)
        value = self._plain.bind(call.arguments[0])
        if not value.type.is_storable:
            raise sql_error(f"{name} does not take {value.type}", call.arguments[0].span)
        if function.framed:
            rows = _count(call, 1, AWAY_MAX) if name == "NTH_VALUE" else 0
            nullable = value.nullable or name == "NTH_VALUE"
            return e.OverCall(name, None, self._column(value, "operand"), rows, None, frame, value.type, nullable)
        rows = _count(call, 1, AHEAD_MAX if name == "LEAD" else AWAY_MAX) if len(call.arguments) > 1 else 1
        if clause.buffer_rows is not None and rows >= clause.buffer_rows:
            raise sql_error(f"{name} looks {rows} rows away, the buffer has {clause.buffer_rows}", call.span)
        default: e.Expr = e.Literal(None, value.type)
        if len(call.arguments) > 2:
            value, default = together((value, self._plain.bind(call.arguments[2])), call.span, "mix")
        other = default if isinstance(default, e.Literal) else self._column(default, "operand")
        nullable = value.nullable or default.nullable
        type_ = type_of((value, default))
        return e.OverCall(name, None, self._column(value, "operand"), rows, other, None, type_, nullable)


class _NamedWindows:
    """The windows of a WINDOW clause; each may build on those before it."""

    def __init__(self, windows_: tuple[tuple[s.Identifier, s.OverClause], ...]) -> None:
        self._windows: list[tuple[s.Identifier, s.OverClause]] = []
        self._used: set[str] = set()
        for name, clause in windows_:
            if any(name.matches(known.text) for known, _ in self._windows):
                raise sql_error(f"window `{name.text}` is defined twice", name.span)
            self._windows.append((name, self.resolved(clause)))

    def resolved(self, clause: s.OverClause) -> s.OverClause:
        """A clause with what the window that it names says."""
        if clause.base is None:
            return clause
        name = clause.base
        found = next((window for known, window in self._windows if name.matches(known.text)), None)
        if found is None:
            hint = did_you_mean(name.text, (known.text for known, _ in self._windows))
            raise sql_error(f"window `{name.text}` does not exist", name.span, hint)
        self._used.add(name.text.lower())
        if clause.span == name.span:
            return found
        if clause.partition_by:
            raise sql_error(f"PARTITION BY belongs into window `{name.text}`", clause.span)
        if clause.order_by and found.order_by:
            raise sql_error(f"window `{name.text}` has an ORDER BY already", clause.span)
        if found.frame is not None or found.buffer_rows is not None:
            raise sql_error(f"window `{name.text}` has a frame: it can only be used as it is", clause.span)
        order_by = clause.order_by or found.order_by
        return s.OverClause(None, None, found.partition_by, order_by, clause.frame, clause.span)

    def check_used(self) -> None:
        """SqlError for a window that says nothing to any call."""
        for name, _ in self._windows:
            if name.text.lower() not in self._used:
                raise sql_error(f"window `{name.text}` is not used", name.span)


def _frame(clause: s.OverClause) -> e.Frame:
    """The frame of a clause; without one, all rows up to those of the same time."""
    frame = clause.frame
    if clause.buffer_rows is None:
        return _ALL_BEFORE if frame is None else e.Frame(frame.unit, frame.preceding)
    held = clause.buffer_rows - 1
    if frame is None:
        return e.Frame(FrameUnit.ROWS, held)
    if frame.unit is not FrameUnit.ROWS:
        raise sql_error("RANGE does not go with a buffer of rows", frame.span)
    return e.Frame(FrameUnit.ROWS, held if frame.preceding is None else min(held, frame.preceding))


def _count(call: s.FunctionCall, position: int, most: int) -> int:
    """A constant number of rows among the operands."""
    match call.arguments[position]:
        case s.NumberLiteral(text=text) if text.isdigit() and 1 <= int(text) <= most:
            return int(text)
    raise sql_error(f"{call.name} takes a constant number of rows from 1 to {most}", call.arguments[position].span)

"""What one row goes through, as generated code: a method for each operator, each writing lines of a function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from headrace.sql import physical as ph
from headrace.sql import plan as p
from headrace.sql.codegen.accumulators import Accumulators, merge_lines, update_lines
from headrace.sql.codegen.expressions import ExpressionWriter, Names, Variable
from headrace.sql.codegen.sinks import SinkCode
from headrace.sql.codegen.traits import comment, describe, first_query, may_fail, reached, row_struct
from headrace.sql.codegen.windows import end_code, ends_code, start_code
from headrace.sql.codegen.writer import FunctionWriter, bare, key_code, safe_name
from headrace.sql.errors import RecordError
from headrace.sql.expressions import Column, Expr
from headrace.sql.runtime.codec import encode_key
from headrace.sql.runtime.execution import QueryErrors
from headrace.sql.runtime.values import decimal_add
from headrace.sql.syntax import RelationKind
from headrace.sql.types import Kind, Type
from headrace.sql.windows import Cumulating, Daily, Hopping, Session, Several, Single, Tumbling, step_of


@dataclass(frozen=True, slots=True)
class Group:
    """The group that a result row belongs to, as code: the values of its key, its window."""

    keys: tuple[tuple[str, Variable, Type], ...]
    key: str
    start: str | None
    end: str | None
    windows: tuple[str, ...]
    """What says which windows a partial aggregate is for."""
    updating: bool
    is_session: bool


@dataclass(frozen=True, slots=True)
class Row:
    """What generated code knows of the row it is at."""

    columns: dict[str, Variable]
    time: str
    order: tuple[str, str, str]
    """What orders rows of one group: event time, source partition, offset."""
    newest: str | None = None
    """The largest event time read before; None for rows that cannot be late."""
    group: Group | None = None
    """None for rows of the source: their record can be named when they are bad."""
    filtered: bool = False
    """A filter stands between the group and this row."""
    kept: bool = False
    """The key and the headers of its record are at hand, as `record_key` and `headers`."""
    first: str | None = None
    """The end of the first of its windows that is open, where that was found before the row was sent."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a row brings to its group, as variables: the parts of its key, the key, the operands of the calls."""

    keys: list[str]
    key: str
    operands: dict[Expr, Variable]


class OrderedWriter(Protocol):
    """Writes an operator over rows in an order."""

    def row(self, function: FunctionWriter, row: Row) -> None:
        """A row comes to the operator."""


class RowWriter:
    """Writes what a row goes through: filters, projections, aggregations, sinks, exchanges."""

    def __init__(self, stage: ph.Stage) -> None:
        self.names = Names()
        self.names.bind("RecordError", RecordError)
        self._input = stage.input
        operators = list(ph.walk(stage.consumers))
        self.sinks = [op for op in operators if isinstance(op, ph.SinkOp)]
        self._sink_code = {id(op): SinkCode(op.query, number, self.names) for number, op in enumerate(self.sinks)}
        self.aggregations = [op for op in operators if isinstance(op, ph.AggregateOp)]
        self.flags: dict[int, str] = {}
        """The field of a group's state that tells whether the group's row is out in a sink, by the sink's operator."""
        self.writers: dict[int, OrderedWriter] = {}
        """Who writes the operators that have rows in an order."""
        self.accumulators = {id(op): Accumulators(op, self._count_flags(op)) for op in self.aggregations}
        sending = (op.exchange for op in operators if isinstance(op, (ph.RowsToExchange, ph.PartialsToExchange)))
        self.exchanges = list(dict.fromkeys(sending))

    def _count_flags(self, operator: ph.AggregateOp) -> int:
        """Number the sinks whose rows may disappear again: behind filters over an updating aggregation, of sessions."""
        if operator.final or operator.form is ph.Form.PARTIAL:
            return 0
        count = 0
        for sink, filtered in reached(operator.consumers, filtered=False):
            changes_key = isinstance(operator.window, Session)
            if (filtered or changes_key) and sink.query.sink.kind is RelationKind.TABLE:
                self.flags[id(sink)] = f"out_{count}"
                count += 1
        return count

    def guarded(self, function: FunctionWriter, operator: ph.Operator, row: Row) -> None:
        """An operator with its own handling of bad rows, where it can meet any."""
        if not may_fail(operator):
            self.operator(function, operator, row)
            return
        query = self.query(first_query(operator))
        with function.block("try:"):
            self.operator(function, operator, row)
        with function.block("except RecordError as error:"):
            if row.group is None:
                function.line(f"rows.reject(records, {query}, error)")
            else:
                self.reject_result(function, query, row.group)

    def reject_result(self, function: FunctionWriter, query: str, group: Group) -> None:
        names = tuple(name for name, _, _ in group.keys) + ((p.WINDOW_END,) if group.end else ())
        parts = [*(variable.code for _, variable, _ in group.keys), *([group.end] if group.end else [])]
        pairs = ", ".join(f"{self.names.literal(name)}: {part}" for name, part in zip(names, parts, strict=True))
        function.line(f"task.reject_result({query}, {{{pairs}}}, error)")

    def consumers(self, function: FunctionWriter, operators: tuple[ph.Operator, ...], row: Row) -> None:
        if len(operators) == 1:
            self.operator(function, operators[0], row)
            return
        for operator in operators:
            self.guarded(function, operator, row)

    def operator(self, function: FunctionWriter, operator: ph.Operator, row: Row) -> None:
        match operator:
            case ph.FilterOp():
                self._filter(function, operator, row)
            case ph.ProjectOp():
                self._project(function, operator, row)
            case ph.AggregateOp():
                self._aggregate(function, operator, row)
            case ph.SinkOp():
                self._sink(function, operator, row)
            case ph.RowsToExchange():
                self._rows_to_exchange(function, operator, row)
            case ph.PartialsToExchange():
                self._partials_to_exchange(function, operator, row)
            case ph.OverOp() | ph.TopOp():
                self.writers[id(operator)].row(function, row)

    def _writer(self, function: FunctionWriter, row: Row) -> ExpressionWriter:
        return ExpressionWriter(self.names, row.columns, function.temporaries)

    def _filter(self, function: FunctionWriter, operator: ph.FilterOp, row: Row) -> None:
        condition = self._writer(function, row).true(operator.predicate)
        with function.block(f"if {bare(condition)}:"):
            self.consumers(function, operator.consumers, replace(row, filtered=True))
        gone = [
            (sink, flag)
            for sink, _ in reached(operator.consumers, filtered=True)
            if row.group is not None and row.group.updating and (flag := self.flags.get(id(sink))) is not None
        ]
        for sink, flag in gone:
            with function.block(f"if acc.{flag} and not ({condition}):" if len(gone) > 1 else f"elif acc.{flag}:"):
                self._take_back(function, sink, flag, row)

    def _project(self, function: FunctionWriter, operator: ph.ProjectOp, row: Row) -> None:
        wanted = {column.name for consumer in operator.consumers for column in ph.needed(consumer)}
        writer = self._writer(function, row)
        columns: dict[str, Variable] = {}
        for name, expr in operator.items:
            if name not in wanted:
                continue
            if isinstance(expr, Column):
                columns[name] = row.columns[expr.name]
                continue
            code = writer.value(expr)
            variable = safe_name(name, function.taken)
            function.line(f"{variable} = {bare(code)}")
            columns[name] = Variable(variable, expr.nullable)
        self.consumers(function, operator.consumers, replace(row, columns=columns))

    def _sink(self, function: FunctionWriter, operator: ph.SinkOp, row: Row) -> None:
        flag = self.flags.get(id(operator))
        value = self._sink_code[id(operator)].value(row.columns)
        if flag is not None and row.group is not None and row.group.is_session:
            self._sink_session(function, operator, flag, row, row.group, value)
            return
        self._append_sink(function, operator, row, value)
        if flag is not None and row.filtered:
            function.line(f"acc.{flag} = True")

    def _sink_session(
        self, function: FunctionWriter, operator: ph.SinkOp, flag: str, row: Row, group: Group, value: str
    ) -> None:
        """A session's row, whose key is new when the session has grown: what is out under other keys is taken back."""
        window = safe_name("window", function.taken)
        function.line(f"{window} = ({group.start}, {group.end})")
        with function.block(f"if acc.{flag} != [{window}]:"):
            with (
                self._each_out(function, flag, group) as out,
                function.block(f"if ({out.start}, {out.end}) != {window}:"),
            ):
                self._append_sink(function, operator, replace(row, group=out), "None")
            function.line(f"acc.{flag} = [{window}]")
        self._append_sink(function, operator, row, value)

    def _take_back(self, function: FunctionWriter, sink: ph.SinkOp, flag: str, row: Row) -> None:
        """Tombstones for what is out of the group `acc`."""
        assert row.group is not None
        if not row.group.is_session:
            function.line(f"acc.{flag} = False")
            self._append_sink(function, sink, row, "None")
            return
        with self._each_out(function, flag, row.group) as out:
            self._append_sink(function, sink, replace(row, group=out), "None")
        function.line(f"acc.{flag} = []")

    @contextmanager
    def _each_out(self, function: FunctionWriter, flag: str, group: Group) -> Iterator[Group]:
        """The group of a session in each window under which its row is out."""
        start, end = safe_name("out_start", function.taken), safe_name("out_end", function.taken)
        with function.block(f"for {start}, {end} in acc.{flag}:"):
            yield replace(group, start=start, end=end)

    def _append_sink(self, function: FunctionWriter, operator: ph.SinkOp, row: Row, value: str) -> None:
        code = self._sink_code[id(operator)]
        number = code.number
        lists = f"keys_{number}, values_{number}, times_{number}"
        function.setup(f"{lists} = [], [], []  # {comment(code.query.sink.topic)}")
        if code.query.sink.key_columns is None:
            function.setup(f"headers_{number} = []")
            function.line(f"values_{number}.append({value})")
            function.line(f"keys_{number}.append(record_key)")
            function.line(f"times_{number}.append({row.time})")
            function.line(f"headers_{number}.append(headers)")
            function.finish(f"task.sinks[{number}].extend({lists}, headers_{number})")
            return
        assert row.group is not None
        keys = [(variable, type_) for _, variable, type_ in row.group.keys]
        key = code.key(keys, row.group.start, row.group.end)
        if may_fail(operator):  # nothing is appended before all of the record is known to be good
            function.line(f"sink_key = {bare(key)}")
            key = "sink_key"
        function.line(f"values_{number}.append({value})")
        function.line(f"keys_{number}.append({key})")
        function.line(f"times_{number}.append({row.time})")
        function.finish(f"task.sinks[{number}].extend({lists})")

    def _rows_to_exchange(self, function: FunctionWriter, operator: ph.RowsToExchange, row: Row) -> None:
        if operator.timed and row.newest is not None:
            with function.block(f"if {self.is_late(row.time, 0, row.newest, '<')}:"):
                function.line(f"rows.late_for_over(records, {self.query(operator.query)})")
            with function.block("else:"):
                self._append_exchange(function, operator, row)
            return
        if operator.window is None or row.newest is None:
            if isinstance(operator.window, Daily):  # behind the repartition topic nobody knows what the row is of
                function.line(f"{end_code(operator.window, row.time, self.names)}  # or outside of the calendar")
            with self._unless_too_old(function, operator, row):
                self._append_exchange(function, operator, self._with_first(function, operator, row))
            return
        query = self.query(operator.query)
        match operator.window:
            case Session() as session:
                late, call = self.is_late(row.time, session.grace_ms, row.newest, "<"), "late_for_session"
            case Tumbling() | Daily() as single:
                end = f"({end_code(single, row.time, self.names)})"
                late, call = self.is_late(end, single.grace_ms, row.newest, "<="), "late"
            case several:
                row = self._with_first(function, operator, row)
                last = self._last(function, several, row.time)
                self._skip_late(function, several, row, last, query)
                with function.block(f"if {row.first} <= {last}:"):
                    self._append_exchange(function, operator, row)
                return
        with function.block(f"if {late}:"):
            function.line(f"rows.{call}(records, {query})")
        with function.block("else:"):
            self._append_exchange(function, operator, row)

    def _with_first(self, function: FunctionWriter, operator: ph.RowsToExchange | ph.AggregateOp, row: Row) -> Row:
        """The row with the end of its first window, where it is in several."""
        if not isinstance(operator.window, (Hopping, Cumulating)):
            return row
        first = safe_name("first_end", function.taken)
        function.line(f"{first} = {row.first or ends_code(operator.window, row.time)[0]}")
        return replace(row, first=first)

    def _last(self, function: FunctionWriter, window: Several, time: str) -> str:
        last = safe_name("last_end", function.taken)
        function.line(f"{last} = {ends_code(window, time)[1]}")
        return last

    def _skip_late(self, function: FunctionWriter, window: Several, row: Row, last: str, query: str) -> None:
        """Go on to the first window that had not closed when the row was read."""
        assert row.first is not None
        assert row.newest is not None
        ends = f"range({row.first}, {last} + 1, {step_of(window)})"
        allowance = self._allowance(window.grace_ms)
        watermark = f"{row.newest} - {allowance}" if allowance else row.newest
        with function.block(f"if {self.is_late(row.first, window.grace_ms, row.newest, '<=')}:"):
            function.line(f"{row.first} = rows.late_until(records, {query}, {ends}, {watermark})")

    def _append_exchange(self, function: FunctionWriter, operator: ph.RowsToExchange, row: Row) -> None:
        keys = self.key_values(function, operator.keys, row)
        writer = self._writer(function, row)
        operands = [writer.value(expr) for _, expr in operator.operands]
        columns = tuple(Column(name, expr.type, expr.nullable) for name, expr in (*operator.keys, *operator.operands))
        number = self.exchanges.index(operator.exchange)
        struct = self.names.bind(f"Row_{number}", row_struct(columns, operator.window, ordered=operator.ordered))
        parts = [*keys, *operands, row.time]
        if row.first is not None:
            parts.append(row.first)
        if operator.ordered:
            parts += row.order[1:]
        rows = f"exchange_{number}"
        function.setup(f"{rows} = []  # to stage {comment(operator.exchange.stage)}")
        function.finish(f"task.exchanges[{number}].extend({rows})")
        function.line(f"{rows}.append(({key_code(keys)}, {struct}({', '.join(parts)})))")

    def _partials_to_exchange(self, function: FunctionWriter, operator: ph.PartialsToExchange, row: Row) -> None:
        number = self.exchanges.index(operator.exchange)
        rows = f"exchange_{number}"
        function.setup(f"{rows} = []  # to stage {comment(operator.exchange.stage)}")
        function.finish(f"task.exchanges[{number}].extend({rows})")
        assert row.group is not None
        parts = ", ".join(("key", *row.group.windows, "acc"))
        function.line(f"{rows}.append((key, ({parts})))")

    # Aggregation

    def _allowance(self, grace_ms: int) -> int:
        """How far the newest event time is before what it closes: the grace, and the delay of the watermark."""
        assert isinstance(self._input, ph.SourceInput)
        return grace_ms + self._input.source.event_time.delay_ms

    def is_late(self, until: str, grace_ms: int, newest: str, operator: str) -> str:
        """Whether what could be added to until a time had closed by the watermark (newest − delay) of the partition."""
        allowance = self._allowance(grace_ms)
        return f"{until} + {allowance} {operator} {newest}" if allowance else f"{until} {operator} {newest}"

    @contextmanager
    def _unless_too_old(
        self, function: FunctionWriter, operator: ph.AggregateOp | ph.RowsToExchange, row: Row
    ) -> Iterator[None]:
        """A row of the source finds its group only while that cannot have been deleted (see ExpiringState)."""
        if operator.ttl_ms is None or row.newest is None:
            yield
            return
        assert isinstance(self._input, ph.SourceInput)
        allowance = operator.ttl_ms + self._input.source.event_time.delay_ms
        with function.block(f"if {row.time} + {allowance} < {row.newest}:"):
            function.line(f"rows.too_old(records, {self.query(operator.query)})")
        with function.block("else:"):
            yield

    def key_values(self, function: FunctionWriter, keys: tuple[tuple[str, Expr], ...], row: Row) -> list[str]:
        """Code of each part of a grouping key, in its canonical form, without side effects."""
        writer = self._writer(function, row)
        codes: list[str] = []
        for name, expr in keys:
            code = writer.value(expr)
            if expr.type.kind is Kind.DOUBLE:  # -0.0 and 0.0 are one group
                code = f"(None if {code} is None else {code} + 0.0)" if expr.nullable else f"{code} + 0.0"
            if not code.isidentifier():
                variable = safe_name(name, function.taken)
                function.line(f"{variable} = {bare(code)}")
                code = variable
            codes.append(code)
        return codes

    def _aggregate(self, function: FunctionWriter, operator: ph.AggregateOp, row: Row) -> None:
        function.line(f"# {describe(operator)}")
        match operator.window:
            case None:
                self._open_groups(function, operator, "load")
                with self._unless_too_old(function, operator, row):
                    self._update(function, operator, row, None)
            case Session() as session:
                self._aggregate_session(function, operator, row, session)
            case Tumbling() | Daily() as single:
                self._aggregate_single(function, operator, row, single)
            case several:
                self._aggregate_several(function, operator, row, several)

    def _aggregate_single(self, function: FunctionWriter, operator: ph.AggregateOp, row: Row, window: Single) -> None:
        end = safe_name(f"end_{operator.number}", function.taken)
        function.line(f"{end} = {end_code(window, row.time, self.names)}")
        with ExitStack() as blocks:
            if row.newest is not None:
                with function.block(f"if {self.is_late(end, window.grace_ms, row.newest, '<=')}:"):
                    function.line(f"rows.late(records, {self.query(operator.query)})")
                blocks.enter_context(function.block("else:"))
            if operator.form is not ph.Form.PARTIAL:  # one keeps no window: what is sent is judged where it arrives
                blocks.enter_context(self.unless_closed(function, operator, end))
            self.open_pane(function, operator.number, end, "load")
            self._update(function, operator, row, end)

    def _aggregate_several(self, function: FunctionWriter, operator: ph.AggregateOp, row: Row, window: Several) -> None:
        """Update the group in each window that the row is in, from the first that is open."""
        number = operator.number
        row = self._with_first(function, operator, row)
        last = self._last(function, window, row.time)
        query = self.query(operator.query)
        if row.newest is not None:
            self._skip_late(function, window, row, last, query)
        if operator.form is ph.Form.PARTIAL:
            with function.block(f"if {row.first} <= {last}:"):
                self.open_pane(function, number, f"({row.first}, {last})", "load")
                self._update(function, operator, row, f"({row.first}, {last})")
            return
        assert row.first is not None
        self._skip_closed(function, operator, window, row.first, last)
        with function.block(f"if {row.first} <= {last}:"):
            prepared = self._prepare(function, operator, row)
            with self._each_pane(function, operator, window, row.first, last, "load") as end:
                self._accumulate(function, operator, row, prepared, end)

    def _skip_closed(
        self, function: FunctionWriter, operator: ph.AggregateOp, window: Several, first: str, last: str
    ) -> None:
        """Go on to the first window that is not closed here."""
        closed = f"closed_{operator.number}"
        function.setup(f"{closed} = task.states[{operator.number}].closed_until")
        with function.block(f"if {first} <= {closed}:"):
            ends = f"range({first}, {last} + 1, {step_of(window)})"
            function.line(f"{first} = task.closed_before({self.query(operator.query)}, {ends}, {closed})")

    @contextmanager
    def _each_pane(
        self, function: FunctionWriter, operator: ph.AggregateOp, window: Several, first: str, last: str, miss: str
    ) -> Iterator[str]:
        """The groups of each window from the first to the last, found anew where they are not those of the last row."""
        number = operator.number
        function.setup(f"open_{number} = task.states[{number}].open_each")
        function.setup(f"pane_first_{number} = pane_last_{number} = None")
        with function.block(f"if {first} != pane_first_{number} or {last} != pane_last_{number}:"):
            function.line(f"pane_first_{number}, pane_last_{number} = {first}, {last}")
            function.line(f"panes_{number} = open_{number}(range({first}, {last} + 1, {step_of(window)}))")
        end = safe_name(f"end_{number}", function.taken)
        with function.block(f"for {end}, get_{number}, {miss}_{number}, dirty_{number} in panes_{number}:"):
            yield end

    def _aggregate_session(self, function: FunctionWriter, operator: ph.AggregateOp, row: Row, window: Session) -> None:
        """Update the session that the row belongs to: most rows belong to the newest of their group."""
        number = operator.number
        query = self.query(operator.query)
        with ExitStack() as blocks:
            if row.newest is not None:
                with function.block(f"if {self.is_late(row.time, window.grace_ms, row.newest, '<')}:"):
                    function.line(f"rows.late_for_session(records, {query})")
                blocks.enter_context(function.block("else:"))
            if operator.form is not ph.Form.PARTIAL:
                function.setup(f"closed_{number} = task.states[{number}].closed_until")
                with function.block(f"if {row.time} + {window.gap_ms} <= closed_{number}:"):
                    function.line(f"task.late_after_idle({query})")
                blocks.enter_context(function.block("else:"))
            self._open_groups(function, operator, "load")
            function.setup(f"place_{number} = task.states[{number}].place")
            prepared = self._prepare(function, operator, row)
            key = prepared.key
            function.line(f"group = get_{number}({key})")
            with function.block("if group is None:"):
                function.line(f"group = load_{number}({key})")
            function.line("acc = group.sessions[-1] if group.sessions else None")
            with (
                function.block(f"if acc is not None and acc.start <= {row.time} < acc.last + {window.gap_ms}:"),
                function.block(f"if {row.time} > acc.last:"),
            ):
                function.line(f"acc.last = {row.time}")
            with function.block("else:"):
                function.line(f"acc = place_{number}({key}, group, {row.time})")
            self._add(function, operator, row, prepared)
            function.line(f"dirty_{number}[{key}] = group")
            self._emit_change(function, operator, prepared, None)

    @contextmanager
    def unless_closed(self, function: FunctionWriter, operator: ph.AggregateOp | ph.TopOp, end: str) -> Iterator[None]:
        function.setup(f"closed_{operator.number} = task.states[{operator.number}].closed_until")
        with function.block(f"if {end} <= closed_{operator.number}:"):
            function.line(f"task.late_after_idle({self.query(operator.query)})")
        with function.block("else:"):
            yield

    def _open_groups(self, function: FunctionWriter, operator: ph.AggregateOp, miss: str) -> None:
        number = operator.number
        owner = f"groups_{number}" if operator.ttl_ms is None else f"task.states[{number}]"
        function.setup(f"groups_{number} = task.states[{number}].groups")
        function.setup(f"get_{number} = groups_{number}.cache.get")
        function.setup(f"{miss}_{number} = {owner}.{miss}")
        function.setup(f"dirty_{number} = groups_{number}.dirty")

    def open_pane(self, function: FunctionWriter, number: int, end: str, miss: str) -> None:
        """Turn to the groups of another window, where this row is in another one than the last."""
        function.setup(f"open_{number} = task.states[{number}].open")
        function.setup(f"pane_end_{number} = None")
        with function.block(f"if {end} != pane_end_{number}:"):
            function.line(f"pane_end_{number} = {end}")
            function.line(f"pane_{number} = open_{number}({end})")
            function.line(f"get_{number} = pane_{number}.cache.get")
            function.line(f"{miss}_{number} = pane_{number}.{miss}")
            function.line(f"dirty_{number} = pane_{number}.dirty")

    def _update(self, function: FunctionWriter, operator: ph.AggregateOp, row: Row, end: str | None) -> None:
        self._accumulate(function, operator, row, self._prepare(function, operator, row), end)

    def _prepare(self, function: FunctionWriter, operator: ph.AggregateOp, row: Row) -> Prepared:
        """The key and the operands of a row, evaluated before any state changes: a bad row changes nothing."""
        keys = self.key_values(function, operator.keys, row)
        operands = self._operand_values(function, operator, row)
        key = key_code(keys)
        if not key.isidentifier():
            whole = safe_name(f"key_{operator.number}", function.taken)
            function.line(f"{whole} = {key}")
            key = whole
        return Prepared(keys, key, operands)

    def _accumulate(
        self, function: FunctionWriter, operator: ph.AggregateOp, row: Row, prepared: Prepared, end: str | None
    ) -> None:
        """Add a prepared row to its group, in the window that ends there."""
        number, key = operator.number, prepared.key
        function.line(f"acc = get_{number}({key})")
        if operator.ttl_ms is None:
            with function.block("if acc is None:"):
                function.line(f"acc = load_{number}({key})")
        else:
            with function.block(f"if acc is None or acc.time + {operator.ttl_ms} < {row.time}:"):
                function.line(f"acc = load_{number}({key}, {row.time})")
        self._add(function, operator, row, prepared)
        if operator.form is not ph.Form.PARTIAL:
            function.line(f"dirty_{number}[{key}] = acc")
        self._emit_change(function, operator, prepared, end)

    def _add(self, function: FunctionWriter, operator: ph.AggregateOp, row: Row, prepared: Prepared) -> None:
        """Add a prepared row to the state `acc`."""
        accumulators = self.accumulators[id(operator)]
        order = f"({', '.join(row.order)})"
        for item in accumulators.fields:
            if item.operand is None:
                for line in update_lines(item, "", order):
                    function.line(line)
        for operand, variable in prepared.operands.items():
            lines = [
                line
                for item in accumulators.fields
                if item.operand == operand
                for line in update_lines(item, variable.code, order)
            ]
            if variable.nullable:
                with function.block(f"if {variable.code} is not None:"):
                    for line in lines:
                        function.line(line)
            else:
                for line in lines:
                    function.line(line)
        if accumulators.has_time:
            with function.block(f"if {row.time} > acc.time:"):
                function.line(f"acc.time = {row.time}")
        if accumulators.tells_changes:
            function.line("acc.changed = True")

    def _emit_change(
        self, function: FunctionWriter, operator: ph.AggregateOp, prepared: Prepared, end: str | None
    ) -> None:
        if operator.form is ph.Form.PARTIAL:
            return
        if operator.emission is ph.Emission.EVERY:
            self.results(function, operator, prepared.keys, prepared.key, end)
        self._hold(function, operator, prepared.key, end)

    def _hold(self, function: FunctionWriter, operator: ph.AggregateOp, key: str, end: str | None) -> None:
        """EMIT EVERY: the row of a group that has changed waits for its time."""
        if operator.emission is not ph.Emission.INTERVAL:
            return
        number = operator.number
        holder = "group" if isinstance(operator.window, Session) else "acc"
        function.setup(f"hold_{number} = task.states[{number}].held.hold")
        with function.block(f"if {holder}.held is None:"):
            function.line(f"hold_{number}({f'({end}, {key})' if end is not None else key}, {holder})")

    def _operand_values(self, function: FunctionWriter, operator: ph.AggregateOp, row: Row) -> dict[Expr, Variable]:
        """Every operand, as a variable."""
        self.names.bind("decimal_add", decimal_add)
        writer = self._writer(function, row)
        operands: dict[Expr, Variable] = {}
        for item in self.accumulators[id(operator)].fields:
            if item.operand is None or item.operand in operands:
                continue
            code = writer.value(item.operand)
            if not code.isidentifier():
                variable = safe_name("operand", function.taken)
                function.line(f"{variable} = {bare(code)}")
                code = variable
            operands[item.operand] = Variable(code, item.operand.nullable)
        return operands

    def merge(self, function: FunctionWriter, operator: ph.AggregateOp) -> None:
        """The loop over partial aggregates that merges them into their groups."""
        self.names.bind("decimal_add", decimal_add)
        comment_line = f"# {describe(operator)}"
        match operator.window:
            case None:
                self._open_groups(function, operator, "adopt")
                with function.block("for key, partial in rows:"):
                    function.line(comment_line)
                    self._merge_one(function, operator)
            case Session() as session:
                self._merge_sessions(function, operator, session)
            case Tumbling() | Daily():
                with function.block("for key, end, partial in rows:"):
                    function.line(comment_line)
                    with self.unless_closed(function, operator, "end"):
                        self.open_pane(function, operator.number, "end", "adopt")
                        self._merge_one(function, operator)
            case several:
                with function.block("for key, first, last, partial in rows:"):
                    function.line(comment_line)
                    self._skip_closed(function, operator, several, "first", "last")
                    panes = self._each_pane(function, operator, several, "first", "last", "load")
                    with function.block("if first <= last:"), panes as end:
                        number = operator.number
                        function.line(f"acc = get_{number}(key)")
                        with function.block("if acc is None:"):
                            function.line(f"acc = load_{number}(key)")
                        self._merge_lines(function, operator)
                        function.line(f"dirty_{number}[key] = acc")
                        self._hold(function, operator, "key", end)

    def _merge_sessions(self, function: FunctionWriter, operator: ph.AggregateOp, window: Session) -> None:
        number = operator.number
        function.setup(f"closed_{number} = task.states[{number}].closed_until")
        function.setup(f"merge_{number} = task.states[{number}].merge")
        with function.block("for key, partial in rows:"):
            function.line(f"# {describe(operator)}")
            with function.block(f"if partial.last + {window.gap_ms} <= closed_{number}:"):
                function.line(f"task.late_after_idle({self.query(operator.query)})")
            with function.block("else:"):
                changed = ".changed = True" if self.accumulators[id(operator)].tells_changes else ""
                function.line(f"merge_{number}(key, partial){changed}")

    def _merge_one(self, function: FunctionWriter, operator: ph.AggregateOp) -> None:
        number = operator.number
        function.line(f"acc = get_{number}(key)")
        with function.block("if acc is None:"):
            function.line(f"acc = adopt_{number}(key, partial)")
        with function.block("if acc is None:"):
            function.line("acc = partial  # the first of its group")
        with function.block("else:"):
            self._merge_lines(function, operator)
        function.line(f"dirty_{number}[key] = acc")
        self._hold(function, operator, "key", "end" if operator.window is not None else None)

    def _merge_lines(self, function: FunctionWriter, operator: ph.AggregateOp) -> None:
        """Lines that merge the state `partial` into `acc`."""
        accumulators = self.accumulators[id(operator)]
        for item in accumulators.fields:
            for line in merge_lines(item):
                function.line(line)
        if accumulators.has_time:
            with function.block("if partial.time > acc.time:"):
                function.line("acc.time = partial.time")

    def unite_sessions(self, function: FunctionWriter, operator: ph.AggregateOp) -> None:
        """The body of the function that merges the session `partial` into `acc`."""
        self.names.bind("decimal_add", decimal_add)
        self._merge_lines(function, operator)
        function.line("acc.start = min(acc.start, partial.start)")
        function.line("acc.last = max(acc.last, partial.last)")
        for flag in self.accumulators[id(operator)].flags:
            function.line(f"acc.{flag} = acc.{flag} + partial.{flag}")

    def results(
        self, function: FunctionWriter, operator: ph.AggregateOp, keys: list[str], key: str, end: str | None
    ) -> None:
        """The group's row for the consumers of an aggregation; an error above it keeps the state."""
        accumulators = self.accumulators[id(operator)]
        group = self._group(operator, keys, key, end)
        if isinstance(operator.window, Session) and operator.form is not ph.Form.PARTIAL:
            start, end = safe_name("session_start", function.taken), safe_name("session_end", function.taken)
            function.line(f"{start}, {end} = acc.start, acc.last + {operator.window.gap_ms}")
            group = replace(group, start=start, end=end)
        columns = {name: variable for name, variable, _ in group.keys}
        if group.start is not None and group.end is not None:
            columns[p.WINDOW_START] = Variable(f"({group.start})", False)
            columns[p.WINDOW_END] = Variable(group.end, False)
        newest = "acc.last" if accumulators.is_session else "acc.time"
        time = f"({group.end} - 1)" if operator.final and group.end is not None else newest
        encode = self.names.bind("encode_key", encode_key)
        wanted = {column.name for consumer in operator.consumers for column in ph.needed(consumer)}
        results = [(name, call) for name, call in operator.calls if name in wanted]
        row = Row(columns, time, (time, f"{encode}({key})", "0"), None, group)

        def write() -> None:
            for name, call in results:
                variable = safe_name(name, function.taken)
                function.line(f"{variable} = {bare(accumulators.result(call, self.names))}")
                columns[name] = Variable(variable, call.nullable)
            self.consumers(function, operator.consumers, row)

        if operator.form is ph.Form.PARTIAL or not self._results_may_fail(operator):
            write()
            return
        query = self.query(operator.query)
        with function.block("try:"):
            write()
        with function.block("except RecordError as error:"):
            self.reject_result(function, query, group)

    def _group(self, operator: ph.AggregateOp, keys: list[str], key: str, end: str | None) -> Group:
        """The group of an aggregation whose key stands in variables, in the window that ends there."""
        parts = tuple(
            (name, Variable(code, expr.nullable), expr.type)
            for (name, expr), code in zip(operator.keys, keys, strict=True)
        )
        start: str | None = None
        windows: tuple[str, ...] = ()
        match operator.window:
            case None:
                pass
            case Session():
                end = None
            case Hopping() | Cumulating() if operator.form is ph.Form.PARTIAL:
                windows, end = ("first", "last"), None
            case window:
                assert end is not None
                start, windows = start_code(window, end, self.names), (end,)
        return Group(parts, key, start, end, windows, not operator.final, isinstance(operator.window, Session))

    def tables(self, operator: ph.AggregateOp) -> list[ph.SinkOp]:
        """The tables that hold the rows of an aggregation."""
        sinks = (sink for sink, _ in reached(operator.consumers, filtered=False))
        return [sink for sink in sinks if sink.query.sink.kind is RelationKind.TABLE]

    def tombstones(self, function: FunctionWriter, operator: ph.AggregateOp, keys: list[str], key: str) -> None:
        """Take the row of the group `acc` back from every table where it is out."""
        row = Row({}, "acc.time", ("acc.time", "b''", "0"), None, self._group(operator, keys, key, None))
        for sink in self.tables(operator):
            with ExitStack() as blocks:
                if id(sink) in self.flags:
                    blocks.enter_context(function.block(f"if acc.{self.flags[id(sink)]}:"))
                if not may_fail(sink):
                    self._append_sink(function, sink, row, "None")
                    continue
                with function.block("try:"):
                    self._append_sink(function, sink, row, "None")
                with function.block("except RecordError:"):
                    function.line("pass  # a row that has no key was never out")

    def _results_may_fail(self, operator: ph.AggregateOp) -> bool:
        sums = any(call.function.name in ("SUM", "AVG") for _, call in operator.calls)
        return sums or any(may_fail(consumer) for consumer in operator.consumers)

    def query(self, query: p.Query) -> str:
        errors = QueryErrors(query.name, query.on_error, query.late)
        for name, value in self.names.bound.items():
            if value == errors:
                return name
        count = sum(isinstance(value, QueryErrors) for value in self.names.bound.values())
        return self.names.bind(f"query_{count}", errors)

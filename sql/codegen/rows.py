"""What one row goes through, as generated code: a method for each operator, each writing lines of a function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Protocol

from headrace.sql import physical as ph
from headrace.sql import plan as p
from headrace.sql.codegen.expressions import ExpressionWriter, Names, Variable
from headrace.sql.codegen.sinks import SinkCode
from headrace.sql.codegen.traits import comment, first_query, may_fail, reached, row_struct
from headrace.sql.codegen.windows import end_code, ends_code
from headrace.sql.codegen.writer import FunctionWriter, bare, key_code, safe_name
from headrace.sql.errors import RecordError
from headrace.sql.expressions import Column, Expr
from headrace.sql.runtime.codec import place_in_union
from headrace.sql.runtime.execution import QueryErrors
from headrace.sql.types import Kind, Type
from headrace.sql.windows import Daily, Session, Several, Tumbling, step_of

_MOST_BLOCKS = 12
"""Behind so many blocks a function of its own begins: Python nests 20 in one."""


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
    record_keys: tuple[tuple[Variable, Type], ...] | None = None
    """What PARTITION BY makes the key of its records; None: that of its group, or of its own record."""


class StatefulWriter(Protocol):
    """Writes an operator that has state."""

    def row(self, function: FunctionWriter, row: Row) -> None:
        """A row comes to the operator."""


class RowWriter:
    """Writes what a row goes through: filters, projections, sinks, exchanges; and hands it to operators with state."""

    def __init__(self, stage: ph.Stage) -> None:
        self.names = Names()
        self.names.bind("RecordError", RecordError)
        self._input = stage.input
        operators = list(ph.walk(stage.consumers))
        self.sinks = [op for op in operators if isinstance(op, ph.SinkOp)]
        self._sink_code = {id(op): SinkCode(op.query, number, self.names) for number, op in enumerate(self.sinks)}
        self.flags: dict[int, str] = {}
        """The field of a group's state that tells whether the group's row is out in a sink, by the sink's operator."""
        self.writers: dict[int, StatefulWriter] = {}
        """Who writes the operators that have state."""
        sending = (op.exchange for op in operators if isinstance(op, (ph.RowsToExchange, ph.PartialsToExchange)))
        self.exchanges = list(dict.fromkeys(sending))

    def guarded(self, function: FunctionWriter, operator: ph.Operator, row: Row) -> None:
        """An operator with its own handling of bad rows, where it can meet any."""
        if not may_fail(operator):
            self.operator(function, operator, row)
            return
        if function.blocks > _MOST_BLOCKS:
            name = safe_name("deeper", function.taken)
            with function.block(f"def {name}():"):
                self._tried(function, operator, row)
            function.line(f"{name}()")
            return
        self._tried(function, operator, row)

    def _tried(self, function: FunctionWriter, operator: ph.Operator, row: Row) -> None:
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
            case ph.UnnestOp():
                self._unnest(function, operator, row)
            case ph.RekeyOp():
                codes = ((row.columns[column.name], column) for column in operator.keys)
                keys = tuple((Variable(v.code, v.nullable and c.nullable), c.type) for v, c in codes)
                self.consumers(function, operator.consumers, replace(row, record_keys=keys))
            case ph.BranchOp():
                self._branch(function, operator, row)
            case ph.SinkOp():
                self._sink(function, operator, row)
            case ph.RowsToExchange():
                self._rows_to_exchange(function, operator, row)
            case ph.PartialsToExchange():
                self._partials_to_exchange(function, operator, row)
            case ph.AggregateOp() | ph.OverOp() | ph.TopOp():
                self.writers[id(operator)].row(function, row)

    def writer(self, function: FunctionWriter, row: Row) -> ExpressionWriter:
        return ExpressionWriter(self.names, row.columns, function.temporaries)

    def _filter(self, function: FunctionWriter, operator: ph.FilterOp, row: Row) -> None:
        condition = self.writer(function, row).true(operator.predicate)
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
        writer = self.writer(function, row)
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

    def _unnest(self, function: FunctionWriter, operator: ph.UnnestOp, row: Row) -> None:
        writer = self.writer(function, row)
        nothing = "(None,)" if operator.keeps_empty else "()"
        arrays: list[str] = []
        names: list[str] = []
        for name, expr in operator.items:
            code = writer.value(expr)
            arrays.append(f"{code} or {nothing}" if expr.nullable or operator.keeps_empty else bare(code))
            names.append(safe_name(name, function.taken))
        elements = arrays[0]
        if len(arrays) > 1:
            elements = f"{self.names.bind('zip_longest', zip_longest)}({', '.join(arrays)})"
        columns = {name: Variable(code, True) for (name, _), code in zip(operator.items, names, strict=True)}
        with function.block(f"for {', '.join(names)} in {elements}:"):
            self.consumers(function, operator.consumers, replace(row, columns=row.columns | columns))

    def _branch(self, function: FunctionWriter, operator: ph.BranchOp, row: Row) -> None:
        """Rows of one time are in the order of the branches, then in that of their own."""
        time, origin, position = row.order
        place = self.names.bind("place_in_union", place_in_union)
        order = (time, f"{place}({operator.number}, {origin}, {position})", "0")
        self.consumers(function, operator.consumers, replace(row, order=order))

    def _sink(self, function: FunctionWriter, operator: ph.SinkOp, row: Row) -> None:
        flag = self.flags.get(id(operator))
        value = self._sink_code[id(operator)].value(row.columns)
        if flag is not None and row.group is not None and row.group.is_session:
            self._sink_session(function, operator, flag, row, row.group, value)
            return
        self.append_sink(function, operator, row, value)
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
                self.append_sink(function, operator, replace(row, group=out), "None")
            function.line(f"acc.{flag} = [{window}]")
        self.append_sink(function, operator, row, value)

    def _take_back(self, function: FunctionWriter, sink: ph.SinkOp, flag: str, row: Row) -> None:
        """Tombstones for what is out of the group `acc`."""
        assert row.group is not None
        if not row.group.is_session:
            function.line(f"acc.{flag} = False")
            self.append_sink(function, sink, row, "None")
            return
        with self._each_out(function, flag, row.group) as out:
            self.append_sink(function, sink, replace(row, group=out), "None")
        function.line(f"acc.{flag} = []")

    @contextmanager
    def _each_out(self, function: FunctionWriter, flag: str, group: Group) -> Iterator[Group]:
        """The group of a session in each window under which its row is out."""
        start, end = safe_name("out_start", function.taken), safe_name("out_end", function.taken)
        with function.block(f"for {start}, {end} in acc.{flag}:"):
            yield replace(group, start=start, end=end)

    def append_sink(self, function: FunctionWriter, operator: ph.SinkOp, row: Row, value: str) -> None:
        code = self._sink_code[id(operator)]
        number = code.number
        lists = f"keys_{number}, values_{number}, times_{number}"
        function.setup(f"{lists} = [], [], []  # {comment(code.query.sink.topic)}")
        if code.query.sink.key_columns is None:
            function.setup(f"headers_{number} = []")
            function.line(f"values_{number}.append({value})")
            key = "None" if code.query.sink.key_format == "none" else "record_key"
            function.line(f"keys_{number}.append({key})")
            function.line(f"times_{number}.append({row.time})")
            function.line(f"headers_{number}.append(headers)")
            function.finish(f"task.sinks[{number}].extend({lists}, headers_{number})")
            return
        if row.record_keys is not None:
            keys, start, end = list(row.record_keys), None, None
        else:
            assert row.group is not None
            keys = [(variable, type_) for _, variable, type_ in row.group.keys]
            start, end = row.group.start, row.group.end
        key = code.key(keys, start, end)
        if may_fail(operator):  # nothing is appended before all of the record is known to be good
            function.line(f"sink_key = {bare(key)}")
            key = "sink_key"
        function.line(f"values_{number}.append({value})")
        function.line(f"keys_{number}.append({key})")
        function.line(f"times_{number}.append({row.time})")
        if row.kept:
            function.setup(f"headers_{number} = []")
            function.line(f"headers_{number}.append(headers)")
            lists = f"{lists}, headers_{number}"
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
            with self.unless_too_old(function, operator, row):
                self._append_exchange(function, operator, self.with_first(function, operator, row))
            return
        query = self.query(operator.query)
        match operator.window:
            case Session() as session:
                late, call = self.is_late(row.time, session.grace_ms, row.newest, "<"), "late_for_session"
            case Tumbling() | Daily() as single:
                end = f"({end_code(single, row.time, self.names)})"
                late, call = self.is_late(end, single.grace_ms, row.newest, "<="), "late"
            case several:
                row = self.with_first(function, operator, row)
                last = self.last(function, several, row.time)
                self.skip_late(function, several, row, last, query)
                with function.block(f"if {row.first} <= {last}:"):
                    self._append_exchange(function, operator, row)
                return
        with function.block(f"if {late}:"):
            function.line(f"rows.{call}(records, {query})")
        with function.block("else:"):
            self._append_exchange(function, operator, row)

    def with_first(self, function: FunctionWriter, operator: ph.RowsToExchange | ph.AggregateOp, row: Row) -> Row:
        """The row with the end of its first window, where it is in several."""
        if not isinstance(operator.window, Several):
            return row
        first = safe_name("first_end", function.taken)
        function.line(f"{first} = {row.first or ends_code(operator.window, row.time)[0]}")
        return replace(row, first=first)

    def last(self, function: FunctionWriter, window: Several, time: str) -> str:
        last = safe_name("last_end", function.taken)
        function.line(f"{last} = {ends_code(window, time)[1]}")
        return last

    def skip_late(self, function: FunctionWriter, window: Several, row: Row, last: str, query: str) -> None:
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
        writer = self.writer(function, row)
        operands = [writer.value(expr) for _, expr in operator.operands]
        columns = tuple(Column(name, expr.type, expr.nullable) for name, expr in (*operator.keys, *operator.operands))
        number = self.exchanges.index(operator.exchange)
        struct = self.names.bind(f"Row_{number}", row_struct(columns, operator.window, ordered=operator.ordered))
        parts = [*keys, *operands, row.time]
        if row.first is not None:
            parts.append(row.first)
        if operator.ordered:
            parts += row.order[1:]
        routes = self._routes(function, operator.exchange)
        function.line(f"{routes}[{key_code(keys)}].append({struct}({', '.join(parts)}))")

    def _partials_to_exchange(self, function: FunctionWriter, operator: ph.PartialsToExchange, row: Row) -> None:
        assert row.group is not None
        parts = ", ".join(("key", *row.group.windows, "acc"))
        function.line(f"{self._routes(function, operator.exchange)}[key].append(({parts}))")

    def _routes(self, function: FunctionWriter, exchange: ph.Exchange) -> str:
        number = self.exchanges.index(exchange)
        function.setup(f"routes_{number} = task.exchanges[{number}].routes  # to stage {comment(exchange.stage)}")
        return f"routes_{number}"

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
    def unless_too_old(
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
        writer = self.writer(function, row)
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

    @contextmanager
    def unless_closed(self, function: FunctionWriter, operator: ph.AggregateOp | ph.TopOp, end: str) -> Iterator[None]:
        function.setup(f"closed_{operator.number} = task.states[{operator.number}].closed_until")
        with function.block(f"if {end} <= closed_{operator.number}:"):
            function.line(f"task.late_after_idle({self.query(operator.query)})")
        with function.block("else:"):
            yield

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

    def query(self, query: p.Query) -> str:
        errors = QueryErrors(query.name, query.on_error, query.late)
        for name, value in self.names.bound.items():
            if value == errors:
                return name
        count = sum(isinstance(value, QueryErrors) for value in self.names.bound.values())
        return self.names.bind(f"query_{count}", errors)

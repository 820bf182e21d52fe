"""OVER as generated code: rows that wait until the watermark has passed them, and go on with the results of calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from headrace.sql import physical as ph
from headrace.sql.codegen.accumulators import key_type
from headrace.sql.codegen.expressions import Variable
from headrace.sql.codegen.over_calls import CallWriter
from headrace.sql.codegen.over_fields import column_type, is_range
from headrace.sql.codegen.rows import Group, Row, RowWriter
from headrace.sql.codegen.traits import may_fail, needs_of, purpose
from headrace.sql.codegen.writer import FunctionWriter, safe_name
from headrace.sql.expressions import OverCall
from headrace.sql.runtime.codec import AccumulatorCodec
from headrace.sql.runtime.execution import OperatorState
from headrace.sql.runtime.logs import Logs
from headrace.sql.runtime.records import Store
from headrace.sql.runtime.state import GroupedState
from headrace.sql.runtime.waiting import WaitingRows
from headrace.sql.types import Type


@dataclass(frozen=True, slots=True)
class _Held:
    """What waits of a row: columns, and what the records of sinks keep of its own record or group."""

    columns: tuple[tuple[str, Type, bool], ...]
    """Name, type, and whether it may be NULL."""
    record: bool
    group: Group | None

    def struct(self, number: int) -> type:
        fields: list[tuple[str, Any]] = [
            (f"c{index}", column_type(type_, nullable=nullable))
            for index, (_, type_, nullable) in enumerate(self.columns)
        ]
        if self.record:
            fields += [("key", bytes | None), ("headers", list[tuple[str, bytes | None]])]
        if self.group is not None:
            keys = enumerate(self.group.keys)
            fields += [
                (f"g{index}", column_type(type_, nullable=variable.nullable)) for index, (_, variable, type_) in keys
            ]
            fields += [("start", int), ("end", int)] if self.group.end is not None else []
        return msgspec.defstruct(f"Waiting_{number}", fields, array_like=True, gc=False)

    def place(self, name: str) -> int:
        """Where a column stands."""
        return next(index for index, (column, _, _) in enumerate(self.columns) if column == name)


class OverWriter:
    """The code of one Over, and its states."""

    def __init__(self, rows: RowWriter, operator: ph.OverOp) -> None:
        self.number = operator.number
        self._rows = rows
        self.operator = operator
        self._calls = CallWriter(rows.names, operator)
        self._wanted = {column.name for consumer in operator.consumers for column in ph.needed(consumer)}
        self._keys = {column.name for column in operator.keys}
        self._held: _Held | None = None

    # States

    def open(self, store: Store, live: Mapping[int, int]) -> list[OperatorState]:
        """Its states over a store that holds so many entries of each."""
        held, layout = self._held, self._calls.layout
        assert held is not None
        waiting: Any = self._rows.names.bound[f"Waiting_{self.number}"]
        types = {name: column_type(type_, nullable=nullable) for name, type_, nullable in held.columns}
        row: Any = tuple
        history = row[(int, *(types[name] for name in self._calls.history))]
        number = self.number
        states: list[OperatorState] = [WaitingRows(waiting, store, number, live.get(number, 0))]
        if layout.has_groups:
            small = history if layout.rows and not layout.has_log else None
            known = [column_type(call.type, nullable=call.nullable) for _, call in self._before_leads()]
            ahead = row[(int, waiting, *known)] if layout.ahead else None
            keys = [(column.name, column) for column in self.operator.keys]
            fields = self._calls.fields
            codec = AccumulatorCodec(fields.struct(small, ahead), key_type(keys), fields.sums())
            number += 1
            states.append(GroupedState(codec, store, number, live.get(number, 0)))
        if layout.has_log:
            number += 1
            states.append(Logs(history, layout.rows, layout.span_ms, store, number, live.get(number, 0)))
        return states

    # Rows that come

    def row(self, function: FunctionWriter, row: Row) -> None:
        """A row begins to wait."""
        operator, number = self.operator, self.number
        function.line(f"# over by {self._calls.by}: waits for the watermark")
        held = self._hold(row)
        struct = self._rows.names.bind(f"Waiting_{number}", held.struct(number))
        keys = tuple((column.name, column) for column in operator.keys)
        codes = dict(zip((name for name, _ in keys), self._rows.key_values(function, keys, row), strict=True))
        parts = [codes.get(name) or row.columns[name].code for name, _, _ in held.columns]
        if held.record:
            parts += ["record_key", "headers"]
        if held.group is not None:
            parts += [variable.code for _, variable, _ in held.group.keys]
            parts += [code for code in (held.group.start, held.group.end) if code is not None]
        function.setup(f"wait_{number} = task.states[{number}].fresh.append")
        function.setup(f"taken_{number} = task.states[{number}].taken_until")
        query = self._rows.query(operator.query)
        with ExitStack() as blocks:
            if row.newest is not None:
                with function.block(f"if {self._rows.is_late(row.time, 0, row.newest, '<')}:"):
                    function.line(f"rows.late_for_over(records, {query})")
                blocks.enter_context(function.block("else:"))
            with function.block(f"if {row.time} < taken_{number}:"):
                function.line(f"task.late_after_idle({query})")
            blocks.enter_context(function.block("else:"))
            function.line(f"wait_{number}(({', '.join(row.order)}, {struct}({', '.join(parts)})))")

    def _hold(self, row: Row) -> _Held:
        assert self._held is None, "rows come to an operator in one place"
        columns = {column.name: column for column in ph.needed(self.operator)}
        held = tuple((name, column.type, row.columns[name].nullable) for name, column in columns.items())
        kept = not self.operator.rekeyed and any("keys" in needs_of(c) for c in self.operator.consumers)
        self._held = _Held(held, kept and row.kept, row.group if kept and not row.kept else None)
        return self._held

    # Rows whose turn it is

    def functions(self) -> Iterator[FunctionWriter]:
        """What passes rows on."""
        number, calls = self.number, self.operator.calls
        doc = f"Pass on the rows before `until`, in the order of event time, of {purpose(self.operator)}."
        function = FunctionWriter(f"ready_{number}(task, until)", doc)
        self._calls.begin(function)
        taking = f"task.states[{number}].take"
        if any(is_range(call) for _, call in calls):
            with function.block(f"for peers in {taking}_times(until):"):
                self._peers(function)
        else:
            with function.block(f"for time, origin, position, row in {taking}(until):"):
                self._unpack(function, self._read())
                self._calls.meet(function)
                with self._guard(function):
                    self._calls.results(function, calls)
                    self._pass_on(function)
        yield function
        if self._calls.layout.ahead:
            yield self._finish()

    def _read(self) -> set[str]:
        """Columns that the calls read, and consumers."""
        read = self._keys | self._wanted
        for _, call in self.operator.calls:
            read |= {column.name for column in call.columns}
        return read

    def _unpack(self, function: FunctionWriter, names: set[str]) -> None:
        """Columns of `row` as variables."""
        assert self._held is not None
        for index, (name, _, _) in enumerate(self._held.columns):
            if name in names:
                if name not in self._calls.variables:
                    self._calls.variables[name] = safe_name(name, function.taken)
                function.line(f"{self._calls.variables[name]} = row.c{index}")

    def _peers(self, function: FunctionWriter) -> None:
        """Rows of one time: first all of them meet the calls, then each has its results."""
        own = [(name, call) for name, call in self._before_leads() if not is_range(call)]
        function.line("made = []")
        with function.block("for time, origin, position, row in peers:"):
            self._unpack(function, self._read())
            self._calls.meet(function)
            if any(map(_fails, (call for _, call in own))):
                with function.block("try:"):
                    self._calls.results(function, own)
                with function.block("except RecordError as error:"):
                    self._reject(function)
                    function.line("continue")
            else:
                self._calls.results(function, own)
            carried = ["origin", "position", "row"]
            carried += self._calls.state
            carried += [self._calls.variables[name] for name, _ in own]
            function.line(f"made.append(({', '.join(carried)}))")
        with function.block(f"for {', '.join(carried)} in made:"):
            self._unpack(function, self._wanted | self._keys)
            with self._guard(function):
                self._calls.results(function, [(name, call) for name, call in self.operator.calls if is_range(call)])
                self._pass_on(function)

    @contextmanager
    def _guard(self, function: FunctionWriter) -> Iterator[None]:
        failing = any(_fails(call) for _, call in self.operator.calls)
        if not failing and not any(may_fail(consumer) for consumer in self.operator.consumers):
            yield
            return
        with function.block("try:"):
            yield
        with function.block("except RecordError as error:"):
            self._reject(function)

    def _reject(self, function: FunctionWriter) -> None:
        self._rows.reject_result(function, self._rows.query(self.operator.query), self._group())

    def _group(self) -> Group:
        """What a row's record is called by, and by what it is told when it is bad."""
        assert self._held is not None
        group = self._held.group
        if group is not None:
            keys = tuple(
                (name, Variable(f"row.g{index}", variable.nullable), type_)
                for index, (name, variable, type_) in enumerate(group.keys)
            )
            bounds = ("row.start", "row.end") if group.end is not None else (None, None)
            return replace(group, keys=keys, start=bounds[0], end=bounds[1], updating=False, is_session=False)
        keys = tuple(
            (column.name, Variable(self._calls.variables[column.name], column.nullable), column.type)
            for column in self.operator.keys
        )
        return Group(keys, "", None, None, (), False, False)

    # Results

    def _before_leads(self) -> list[tuple[str, OverCall]]:
        """Results that are known while a row waits for the next ones."""
        return [(name, call) for name, call in self.operator.calls if call.name != "LEAD"]

    def _pass_on(self, function: FunctionWriter) -> None:
        """The row with its results, or the one that waited for it."""
        ahead = self._calls.layout.ahead
        if not ahead:
            self._consume(function, "time")
            return
        kept = ", ".join(("row", *(self._calls.variables[name] for name, _ in self._before_leads())))
        function.line(f"acc.ahead.append((time, {kept}))")
        with function.block(f"if len(acc.ahead) > {ahead}:"):
            function.line(f"before, {kept} = acc.ahead.pop(0)")
            self._unpack(function, self._wanted | self._keys)
            for name, call in self._leads():
                variable = self._calls.result_variable(function, name)
                function.line(f"{variable} = acc.ahead[{call.rows - 1}][1].{self._field(call)}")
            self._consume(function, "before")

    def _finish(self) -> FunctionWriter:
        """At the end of a run, nothing follows any more."""
        doc = f"Pass on the rows that wait for others, at the end of a finite run, of {purpose(self.operator)}."
        function = FunctionWriter(f"finish_{self.number}(task)", doc)
        self._calls.begin(function)
        known = (self._calls.result_variable(function, name) for name, _ in self._before_leads())
        kept = ", ".join(("time", "row", *known))
        with (
            function.block(f"for key, acc in task.states[{self.number + 1}].groups.load_all():"),
            function.block(f"for at, ({kept}) in enumerate(acc.ahead):"),
        ):
            self._unpack(function, self._read())
            for name, call in self._leads():
                there = f"acc.ahead[at + {call.rows}][1].{self._field(call)}"
                value = f"{there} if at + {call.rows} < len(acc.ahead) else {self._calls.default(call)}"
                function.line(f"{self._calls.result_variable(function, name)} = {value}")
            with self._guard(function):
                self._consume(function, "time")
        return function

    def _leads(self) -> list[tuple[str, OverCall]]:
        return [(name, call) for name, call in self.operator.calls if call.name == "LEAD"]

    def _field(self, call: OverCall) -> str:
        assert call.operand is not None
        assert self._held is not None
        return f"c{self._held.place(call.operand.name)}"

    def _consume(self, function: FunctionWriter, time: str) -> None:
        held = self._held
        assert held is not None
        if held.record:
            function.line("record_key = row.key")
            function.line("headers = row.headers")
        columns = {
            name: Variable(self._calls.variables[name], nullable)
            for name, _, nullable in held.columns
            if name in self._calls.variables
        }
        columns |= {name: Variable(self._calls.variables[name], call.nullable) for name, call in self.operator.calls}
        row = Row(columns, time, (time, "origin", "position"), None, self._group(), kept=held.record)
        self._rows.consumers(function, self.operator.consumers, row)


def _fails(call: OverCall) -> bool:
    """Whether its result may raise RecordError."""
    return call.aggregate is not None and call.aggregate.aggregation.fails

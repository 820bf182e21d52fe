"""Top-N as generated code: the first rows of each partition, in an order of the query's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import msgspec

from headrace.sql import physical as ph
from headrace.sql import plan as p
from headrace.sql.codegen.accumulators import key_type
from headrace.sql.codegen.expressions import Variable
from headrace.sql.codegen.rows import Group, Row, RowWriter
from headrace.sql.codegen.traits import comment, may_fail, purpose, reached
from headrace.sql.codegen.writer import FunctionWriter, key_code, safe_name
from headrace.sql.runtime.codec import AccumulatorCodec
from headrace.sql.runtime.execution import OperatorState
from headrace.sql.runtime.records import Store
from headrace.sql.runtime.state import GroupedState
from headrace.sql.runtime.tops import backwards, enter
from headrace.sql.runtime.windowed import WindowedState
from headrace.sql.types import BIGINT, Kind, Type, python_type
from headrace.sql.vocabulary import RelationKind

_ZEROS: dict[Kind, Any] = {
    Kind.VARCHAR: "",
    Kind.BYTES: b"",
    Kind.DOUBLE: 0.0,
    Kind.DECIMAL: Decimal(0),
    Kind.BOOLEAN: False,
}


class TopWriter:
    """The code of one Top-N, and its state."""

    def __init__(self, rows: RowWriter, operator: ph.TopOp) -> None:
        self._rows = rows
        self.operator = operator
        self.number = operator.number
        columns = {c.name: c for c in (*operator.keys, *self._behind())}
        self._columns = tuple(columns.values())
        wanted = (column.name for consumer in operator.consumers for column in ph.needed(consumer))
        self._numbers = operator.name in wanted
        self._flags = tuple(self._number_sinks())
        self._nullable: dict[str, bool] = {}

    def _behind(self) -> Iterator[Any]:
        """Columns of a row that consumers read."""
        for consumer in self.operator.consumers:
            yield from (column for column in ph.needed(consumer) if column.name != self.operator.name)

    def _number_sinks(self) -> Iterator[str]:
        """A flag for each sink in which what a number has may disappear again: behind filters."""
        if self.operator.windowed:
            return
        for sink, filtered in reached(self.operator.consumers, filtered=False):
            if filtered and sink.query.sink.kind is RelationKind.TABLE:
                flag = self._rows.flags[id(sink)] = f"out_{len(self._rows.flags)}"
                yield flag

    # State

    def open(self, store: Store, live: Mapping[int, int]) -> list[OperatorState]:
        """Its state over a store that holds so many entries of it."""
        keys = [(column.name, column) for column in self.operator.keys]
        codec = AccumulatorCodec(self._struct(), key_type(keys), ())
        number = self.number
        if self.operator.windowed:
            return [WindowedState(codec, store, number, live.get(number, 0))]
        return [GroupedState(codec, store, number, live.get(number, 0))]

    def _struct(self) -> type:
        entry: Any = self._rows.names.bound[f"Entry_{self.number}"]
        fields: list[tuple[str, Any, Any]] = [("rows", list[entry], msgspec.field(default_factory=list))]
        if self._flags:
            slot: Any = self._rows.names.bound[f"Slot_{self.number}"]
            fields.append(("slots", list[slot], msgspec.field(default_factory=list)))
        if self._is_latest:
            fields.append(("changed", int, 0))
        return msgspec.defstruct("Top", fields, array_like=True, gc=False)

    @property
    def _is_latest(self) -> bool:
        return not self.operator.windowed and self.operator.changes is p.Changes.LATEST

    # Rows that come

    def row(self, function: FunctionWriter, row: Row) -> None:
        """A row comes, and is put among the first of its partition, or not."""
        operator, number = self.operator, self.number
        by = ", ".join(comment(column.name) for column in operator.keys) or "everything"
        function.line(f"# top {operator.limit} by {by}")
        self._nullable = {column.name: row.columns[column.name].nullable for column in self._columns}
        keys = tuple((column.name, column) for column in operator.keys)
        codes = self._rows.key_values(function, keys, row)
        key = key_code(codes)
        if not key.isidentifier():
            whole = safe_name(f"key_{number}", function.taken)
            function.line(f"{whole} = {key}")
            key = whole
        with ExitStack() as blocks:
            if operator.windowed:
                end = safe_name(f"end_{number}", function.taken)
                function.line(f"{end} = {row.time} + 1")
                blocks.enter_context(self._rows.unless_closed(function, operator, end))
                self._rows.open_pane(function, number, end, "load")
            else:
                function.setup(f"groups_{number} = task.states[{number}].groups")
                for name, owner in (("get", "cache.get"), ("load", "load"), ("dirty", "dirty")):
                    function.setup(f"{name}_{number} = groups_{number}.{owner}")
            self._place(function, row, dict(zip((name for name, _ in keys), codes, strict=True)), key)

    def _place(self, function: FunctionWriter, row: Row, codes: dict[str, str], key: str) -> None:
        operator, number = self.operator, self.number
        entry = self._rows.names.bind(f"Entry_{number}", self._entry())
        self._rows.names.bind("enter", enter)
        rank, top, place = (f"{name}_{number}" for name in ("rank", "top", "place"))
        function.line(f"{rank} = {self._rank(row)}")
        function.line(f"{top} = get_{number}({key})")
        with function.block(f"if {top} is None:"):
            function.line(f"{top} = load_{number}({key})")
        parts = [codes.get(c.name) or row.columns[c.name].code for c in self._columns]
        with function.block(f"if len({top}.rows) < {operator.limit} or {rank} < {top}.rows[-1].rank:"):
            arguments = ", ".join([rank, row.time, *parts])
            function.line(f"{place} = enter({top}.rows, {entry}({arguments}), {operator.limit})")
            function.line(f"dirty_{number}[{key}] = {top}")
            if self._is_latest:
                function.line(f"{top}.changed = min({top}.changed, {place})")
            elif not operator.windowed:
                self._emit(function, place)

    def _entry(self) -> type:
        """A row among the first: its rank, its event time, its columns."""
        rank: Any = tuple
        fields: list[tuple[str, Any]] = [("rank", rank[tuple(self._rank_types())]), ("time", int)]
        for index, column in enumerate(self._columns):
            python: Any = python_type(column.type)
            fields.append((f"c{index}", python | None if self._nullable[column.name] else python))
        return msgspec.defstruct("Entry", fields, array_like=True, gc=False)

    def _rank_types(self) -> Iterator[Any]:
        for key in self.operator.order:
            if key.column.nullable:
                yield bool
            is_text = key.column.type.kind is Kind.VARCHAR
            yield bytes if is_text and key.descending else python_type(key.column.type)
        yield from (int, int | bytes, int)

    def _rank(self, row: Row) -> str:
        """What rows are compared by: the order, then event time, source partition and offset."""
        parts: list[str] = []
        for key in self.operator.order:
            code = row.columns[key.column.name].code
            if key.column.nullable:
                parts.append(f"{code} is {'not ' if key.nulls_first else ''}None")
                zero = self._rows.names.literal(_ZEROS.get(key.column.type.kind, 0))
                code = f"({code} if {code} is not None else {zero})"
            parts.append(self._backwards(code, key.column.type) if key.descending else code)
        if not self.operator.newest_first:
            return f"({', '.join((*parts, *row.order))})"
        time, origin, position = row.order
        function = self._rows.names.bind("backwards", backwards)
        return f"({', '.join((*parts, f'-{time}', f'{function}({origin})', f'-{position}'))})"

    def _backwards(self, code: str, type_: Type) -> str:
        if type_.kind in (Kind.VARCHAR, Kind.BYTES, Kind.DECIMAL, Kind.BOOLEAN):
            return f"{self._rows.names.bind('backwards', backwards)}({code})"
        return f"-{code}"

    # Rows that go out

    def functions(self) -> Iterator[FunctionWriter]:
        """What passes rows on later than when they come."""
        number = self.number
        if self.operator.windowed:
            doc = f"Pass on the first rows of the windows that end by `until`, of {purpose(self.operator)}."
            function = FunctionWriter(f"close_{number}(task, until)", doc)
            function.taken |= {"key", "end", "pane"}
            with (
                function.block(f"for end, pane in task.states[{number}].close(until):"),
                function.block(f"for key, top_{number} in pane.load_all():"),
            ):
                self._emit(function, "0")
            yield function
        elif self._is_latest:
            doc = f"Emit what has changed of the first rows of {purpose(self.operator)}."
            function = FunctionWriter(f"changes_{number}(task)", doc)
            function.taken |= {"key"}
            with function.block(f"for key, top_{number} in task.states[{number}].groups.take_dirty():"):
                self._emit(function, f"top_{number}.changed")
                function.line(f"top_{number}.changed = {self.operator.limit}")
            yield function

    def _emit(self, function: FunctionWriter, start: str) -> None:
        """The rows of the numbers from a place on."""
        operator = self.operator
        top, place, entry = (f"{name}_{self.number}" for name in ("top", "place", "entry"))
        with function.block(f"for {place} in range({start}, len({top}.rows)):"):
            function.line(f"{entry} = {top}.rows[{place}]")
            if self._flags:
                slot = self._rows.names.bind(f"Slot_{self.number}", _slot(self._flags))
                with function.block(f"if {place} == len({top}.slots):"):
                    function.line(f"{top}.slots.append({slot}())")
                function.line(f"acc = {top}.slots[{place}]")
            columns: dict[str, Variable] = {}
            for index, column in enumerate(self._columns):
                variable = safe_name(column.name, function.taken)
                function.line(f"{variable} = {entry}.c{index}")
                columns[column.name] = Variable(variable, self._nullable[column.name])
            if operator.limit > 1 or self._numbers:
                variable = safe_name(operator.name, function.taken)
                function.line(f"{variable} = {place} + 1")
                columns[operator.name] = Variable(variable, False)
            keys = [(column.name, columns[column.name], column.type) for column in operator.keys]
            if operator.limit > 1:
                keys.append((operator.name, columns[operator.name], BIGINT))
            group = Group(tuple(keys), "", None, None, (), not operator.windowed, False)
            order = (f"{entry}.time", f"{entry}.rank[-2]", f"{entry}.rank[-1]")
            emitted = Row(columns, order[0], order, None, group)
            if not any(may_fail(consumer) for consumer in operator.consumers):
                self._rows.consumers(function, operator.consumers, emitted)
                return
            with function.block("try:"):
                self._rows.consumers(function, operator.consumers, emitted)
            with function.block("except RecordError as error:"):
                self._rows.reject_result(function, self._rows.query(operator.query), group)


def _slot(flags: tuple[str, ...]) -> type:
    """What is known of a number: whether its row is out in each sink that filters rows."""
    return msgspec.defstruct("Slot", [(flag, bool, False) for flag in flags], array_like=True, gc=False)

"""The state of one aggregation as generated code: a Struct of accumulators, their updates, merges and results."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from headrace.sql import physical as ph
from headrace.sql.codegen.expressions import Names, fails
from headrace.sql.codegen.writer import safe_name
from headrace.sql.expressions import AggregateCall, Column, Expr
from headrace.sql.functions.accumulators import Accumulator
from headrace.sql.functions.totals import COUNT, NULLS
from headrace.sql.runtime import aggregates, moments, values
from headrace.sql.runtime.codec import AccumulatorCodec, SessionCodec
from headrace.sql.types import python_type
from headrace.sql.windows import Session


@dataclass(frozen=True, slots=True)
class AccumulatorField:
    """One field of the state: an accumulator over operands (none: over rows)."""

    name: str
    accumulator: Accumulator
    operands: tuple[Expr, ...]

    @property
    def kind(self) -> str:
        return self.accumulator.kind

    @property
    def strict(self) -> tuple[Expr, ...]:
        """The operands that are not NULL in a row that is added."""
        seen = self.accumulator.sees_null
        return tuple(operand for index, operand in enumerate(self.operands) if index not in seen and operand.nullable)


class AccumulatorFields:
    """The fields of a state `acc` that aggregate calls need, each once, and the calls' results over them.

    Rows are counted once, where that saves counting the values of several operands: then a NULL is what is counted.
    """

    def __init__(
        self, calls: Iterable[AggregateCall], taken: set[str], *, state: str = "acc", count_nulls: bool = False
    ) -> None:
        """`taken` are names that no field may have; those of the fields are among them afterwards."""
        self.state = state
        self.fields: list[AccumulatorField] = []
        self._by_key: dict[tuple[str, tuple[Expr, ...]], AccumulatorField] = {}
        for call in calls:
            for accumulator in call.aggregation.accumulators:
                self._add(accumulator, call, taken)
        if count_nulls:
            self._count_nulls(taken)

    def _count_nulls(self, taken: set[str]) -> None:
        counts = [item for item in self.fields if item.accumulator is COUNT]
        if len(counts) < 2:
            return
        if ("count", ()) not in self._by_key:
            rows = self._by_key["count", ()] = AccumulatorField(safe_name("count", taken), COUNT, ())
            self.fields.insert(0, rows)
        for item in counts:
            if item.operands:
                nulls = AccumulatorField(item.name.replace("count", "nulls", 1), NULLS, item.operands)
                self.fields[self.fields.index(item)] = self._by_key["count", item.operands] = nulls

    def _add(self, accumulator: Accumulator, call: AggregateCall, taken: set[str]) -> None:
        operands = _counted(accumulator, call)
        aggregation = call.aggregation
        if accumulator is COUNT and not operands and aggregation.needs_value and "{count}" not in aggregation.result:
            return  # a group has at least one row
        key = (accumulator.kind, operands)
        if key in self._by_key:
            return
        of = "" if not operands else f"_{operands[0].name}" if isinstance(operands[0], Column) else "_of"
        added = AccumulatorField(safe_name(f"{accumulator.kind}{of}", taken), accumulator, operands)
        self._by_key[key] = added
        self.fields.append(added)

    def definitions(self) -> list[tuple[str, Any, Any]]:
        """Name, type and initial value of each field."""
        definitions: list[tuple[str, Any, Any]] = []
        for item in self.fields:
            initial = item.accumulator.initial
            first = msgspec.field(default_factory=initial) if callable(initial) else initial
            definitions.append((item.name, item.accumulator.storage, first))
        return definitions

    def totals(self) -> tuple[str, ...]:
        """Fields of integers without bound."""
        return tuple(item.name for item in self.fields if item.accumulator.wide)

    def result(self, call: AggregateCall, names: Names) -> str:
        """Code of a call's result over the state `acc`."""
        aggregation = call.aggregation
        kept = {a.kind: self._by_key.get((a.kind, _counted(a, call))) for a in aggregation.accumulators}
        fields = {kind: self._value(item) for kind, item in kept.items() if item is not None}
        code = aggregation.result.format(**bound(aggregation.names, aggregation.result, names), **fields)
        count = kept.get("count")
        if aggregation.needs_value and count is not None and count.operands:
            return f"(None if {self._is_empty(count)} else {code})"
        return code

    def _value(self, item: AccumulatorField) -> str:
        if item.accumulator is not NULLS:
            return f"{self.state}.{item.name}"
        return f"({self.state}.{self._by_key['count', ()].name} - {self.state}.{item.name})"

    def _is_empty(self, count: AccumulatorField) -> str:
        if count.accumulator is not NULLS:
            return f"{self.state}.{count.name} == 0"
        return f"{self.state}.{self._by_key['count', ()].name} == {self.state}.{count.name}"


def _counted(accumulator: Accumulator, call: AggregateCall) -> tuple[Expr, ...]:
    """What an accumulator is over: a count of values that are never NULL is the count of rows.

    But where nothing else of the call computes them, and their errors are errors of the record.
    """
    if accumulator is not COUNT or any(operand.nullable for operand in call.inputs):
        return call.inputs
    is_alone = call.aggregation.accumulators == (COUNT,)
    return call.inputs if is_alone and any(fails(operand) for operand in call.inputs) else ()


def bound(called: Mapping[str, Any], code: str, names: Names) -> dict[str, str]:
    """For each of the names that code calls, what it is called in the module: a function, or a constant."""
    found: dict[str, str] = {}
    for name, value in called.items():
        if f"{{{name}}}" in code:
            found[name] = _function(name, value, names) if callable(value) else names.literal(value)
    return found


def _function(name: str, function: Any, names: Names) -> str:
    """A name for a function that no column can have: its own, where that is known to be ours."""
    for own in (name, getattr(function, "__name__", "")):
        if any(getattr(module, own, None) is function for module in (values, aggregates, moments, builtins)):
            return names.bind(own, function)
    known = next((bound for bound, value in names.bound.items() if value is function), None)
    return known or names.bind(f"function_{len(names.bound)}", function)


class Accumulators(AccumulatorFields):
    """The layout of an aggregation's state, the same for partial aggregates and for those that merge them."""

    def __init__(self, operator: ph.AggregateOp, flags: int) -> None:
        """`flags` is the number of sinks for which the state remembers whether the group's row is out.

        A session remembers under which windows it is out: they change as it grows.
        """
        own = {"time", "start", "last", "changed", "held"}
        super().__init__((call for _, call in operator.calls), own, count_nulls=True)
        self.is_session = isinstance(operator.window, Session)
        self.has_time = not self.is_session and not (operator.final and operator.window is not None)
        is_partial = operator.form is ph.Form.PARTIAL
        defers = not is_partial and operator.emission in (ph.Emission.LATEST, ph.Emission.INTERVAL)
        self.tells_changes = self.is_session and defers
        self.holds = not is_partial and not self.is_session and operator.emission is ph.Emission.INTERVAL
        self.flags = tuple(f"out_{index}" for index in range(flags))
        self.key_type = key_type(operator.keys)
        self.struct = self._define()

    def _define(self) -> type:
        fields = self.definitions()
        if self.has_time:
            fields.append(("time", int, -(2**63)))
        if self.is_session:
            fields += [("start", int, 0), ("last", int, 0)]
            fields += [(flag, list[tuple[int, int]], msgspec.field(default_factory=list)) for flag in self.flags]
            fields += [("changed", bool, True)] if self.tells_changes else []
        else:
            fields += [(flag, bool, False) for flag in self.flags]
        if self.holds:
            fields.append(("held", int | None, None))
        return msgspec.defstruct("Accumulators", fields, array_like=True, gc=False)

    def codec(self) -> AccumulatorCodec:
        if self.is_session:
            return SessionCodec(self.struct, self.key_type, self.totals())
        return AccumulatorCodec(self.struct, self.key_type, self.totals(), self.flags)


def key_type(keys: Sequence[tuple[str, Expr]]) -> Any:
    """The type of grouping keys in memory: a single value as it is, else a tuple."""
    types = [python_type(expr.type) | None for _, expr in keys]
    return types[0] if len(types) == 1 else tuple[tuple(types)]  # type: ignore[misc]


def update_lines(
    item: AccumulatorField, operands: Sequence[str], order: str, names: Names, state: str = "acc"
) -> list[str]:
    """Lines that add the values of a row to the state `acc`."""
    return _lines(item, item.accumulator.update, operands, names, f=f"{state}.{item.name}", o=order)


def retract_lines(item: AccumulatorField, operands: Sequence[str], names: Names) -> list[str]:
    """Lines that take the values of a row out of the state `acc` again."""
    return _lines(item, item.accumulator.retract, operands, names, f=f"acc.{item.name}")


def merge_lines(item: AccumulatorField, names: Names) -> list[str]:
    """Lines that merge the state `partial` into `acc`."""
    return _lines(item, item.accumulator.merge, (), names, f=f"acc.{item.name}", g=f"partial.{item.name}")


def _lines(
    item: AccumulatorField, lines: tuple[str, ...], operands: Sequence[str], names: Names, **parts: str
) -> list[str]:
    called = bound(item.accumulator.names, "\n".join(lines), names)
    first = dict(zip("vw", operands, strict=False))
    return [line.format(*operands, **first, **parts, **called) for line in lines]

"""The state of one aggregation as generated code: a Struct of accumulators, their updates, merges and results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from headrace.sql import physical as ph
from headrace.sql.codegen.expressions import Names
from headrace.sql.codegen.writer import safe_name
from headrace.sql.expressions import AggregateCall, Column, Expr
from headrace.sql.functions.aggregates import ACCUMULATORS
from headrace.sql.runtime import values
from headrace.sql.runtime.codec import AccumulatorCodec, SessionCodec
from headrace.sql.types import Kind, Type, python_type
from headrace.sql.windows import Session

_ORDER = tuple[int, int | bytes, int]


@dataclass(frozen=True, slots=True)
class AccumulatorField:
    """One field of the state: a kind of accumulator over an operand (None: over rows)."""

    name: str
    kind: str
    operand: Expr | None


class AccumulatorFields:
    """The fields of a state `acc` that aggregate calls need, each once, and the calls' results over them.

    Rows are counted once, where that saves counting the values of several operands: then a NULL is what is counted.
    """

    def __init__(self, calls: Iterable[AggregateCall], taken: set[str], *, count_nulls: bool = False) -> None:
        """`taken` are names that no field may have; those of the fields are among them afterwards."""
        self.fields: list[AccumulatorField] = []
        self._by_key: dict[tuple[str, Expr | None], AccumulatorField] = {}
        for call in calls:
            for kind in call.function.accumulators(call.operand.type if call.operand is not None else None):
                self._add(kind, call, taken)
        if count_nulls:
            self._count_nulls(taken)

    def _count_nulls(self, taken: set[str]) -> None:
        counts = [item for item in self.fields if item.kind == "count"]
        if len(counts) < 2:
            return
        if ("count", None) not in self._by_key:
            rows = self._by_key["count", None] = AccumulatorField(safe_name("count", taken), "count", None)
            self.fields.insert(0, rows)
        for item in counts:
            if item.operand is not None:
                nulls = AccumulatorField(item.name.replace("count", "nulls", 1), "nulls", item.operand)
                self.fields[self.fields.index(item)] = self._by_key["count", item.operand] = nulls

    def _add(self, kind: str, call: AggregateCall, taken: set[str]) -> None:
        operand = call.operand
        if kind == "count" and (operand is None or not operand.nullable):
            operand = None  # a count of values that are never NULL is the count of rows
            if call.function.name == "SUM":
                return  # and a group has at least one row
        if (kind, operand) in self._by_key:
            return
        of = f"_{operand.name}" if isinstance(operand, Column) else ("" if operand is None else "_of")
        added = AccumulatorField(safe_name(f"{kind}{of}", taken), kind, operand)
        self._by_key[kind, operand] = added
        self.fields.append(added)

    def definitions(self) -> list[tuple[str, Any, Any]]:
        """Name, type and initial value of each field."""
        definitions: list[tuple[str, Any, Any]] = []
        for item in self.fields:
            type_, initial = _storage(item.kind, item.operand.type if item.operand is not None else None)
            definitions.append((item.name, type_, initial))
        return definitions

    def totals(self) -> tuple[str, ...]:
        """Fields of integer sums, which are exact without bound."""
        integers = (Kind.INT, Kind.BIGINT)
        return tuple(
            item.name
            for item in self.fields
            if item.kind == "sum" and item.operand is not None and item.operand.type.kind in integers
        )

    def field(self, kind: str, operand: Expr | None) -> AccumulatorField | None:
        if kind == "count" and operand is not None and not operand.nullable:
            operand = None
        return self._by_key.get((kind, operand))

    def result(self, call: AggregateCall, names: Names) -> str:
        """Code of a call's result over the state `acc`."""
        operand = call.operand
        kinds = call.function.accumulators(operand.type if operand is not None else None)
        found = [self.field(kind, operand) for kind in kinds]
        main = found[-1]
        assert main is not None
        value = self._value(main)
        match call.function.name:
            case "COUNT":
                return value
            case "COUNT_DISTINCT":
                return f"len({value})"
            case "SUM":
                code = _total(value, call.type, names)
            case "AVG":
                count = found[0]
                assert count is not None
                code = _mean(value, self._value(count), call.type, names)
            case "FIRST_VALUE" | "LAST_VALUE":
                return f"(None if {value} is None else {value}[3])"
            case _:
                return value
        if operand is not None and operand.nullable:
            count = found[0]
            assert count is not None
            return f"(None if {self._is_empty(count)} else {code})"
        return code

    def _value(self, item: AccumulatorField) -> str:
        if item.kind != "nulls":
            return f"acc.{item.name}"
        return f"(acc.{self._by_key['count', None].name} - acc.{item.name})"

    def _is_empty(self, count: AccumulatorField) -> str:
        if count.kind != "nulls":
            return f"acc.{count.name} == 0"
        return f"acc.{self._by_key['count', None].name} == acc.{count.name}"


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


def _storage(kind: str, operand: Type | None) -> tuple[Any, Any]:
    """Type and initial value of an accumulator's field."""
    python = python_type(operand) if operand is not None else int
    match kind:
        case "count" | "nulls":
            return int, 0
        case "sum":
            return (float, 0.0) if python is float else (int, 0)
        case "decimal_sum":
            assert operand is not None
            return Decimal, Decimal(0).scaleb(-operand.scale)
        case "distinct":
            return set[python], msgspec.field(default_factory=set)  # type: ignore[valid-type]
        case "first" | "last":
            return tuple[int, int | bytes, int, python] | None, None  # type: ignore[valid-type]
        case _:
            return python | None, None


def _total(value: str, type_: Type, names: Names) -> str:
    match type_.kind:
        case Kind.DOUBLE:
            return f"{names.bind('finite', values.finite)}({value})"
        case Kind.DECIMAL:
            return f"{names.bind('fit_decimal', values.fit_decimal)}({value}, {type_.precision}, {type_.scale})"
        case _:
            return f"{names.bind('in_bigint', values.in_bigint)}({value})"


def _mean(total: str, count: str, type_: Type, names: Names) -> str:
    if type_.kind is Kind.DECIMAL:
        names.bind("divide_decimal", values.divide_decimal)
        fit = names.bind("fit_decimal", values.fit_decimal)
        return f"{fit}(divide_decimal({total}, {count}), {type_.precision}, {type_.scale})"
    return f"{names.bind('finite', values.finite)}({total} / {count})"


def key_type(keys: Sequence[tuple[str, Expr]]) -> Any:
    """The type of grouping keys in memory: a single value as it is, else a tuple."""
    types = [python_type(expr.type) | None for _, expr in keys]
    return types[0] if len(types) == 1 else tuple[tuple(types)]  # type: ignore[misc]


def update_lines(item: AccumulatorField, value: str, order: str) -> list[str]:
    """Lines that add a value to the state `acc`."""
    return [line.format(f=f"acc.{item.name}", v=value, o=order) for line in ACCUMULATORS[item.kind].update]


def merge_lines(item: AccumulatorField) -> list[str]:
    """Lines that merge the state `partial` into `acc`."""
    return [line.format(f=f"acc.{item.name}", g=f"partial.{item.name}") for line in ACCUMULATORS[item.kind].merge]

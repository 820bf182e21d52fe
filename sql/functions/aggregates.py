"""The aggregate functions, each as a few mergeable accumulators and an expression over them.

An accumulator is one field of a group's state. Functions over the same operand share accumulators: AVG(x) and SUM(x)
keep one sum. Every one here can be merged (partial aggregates); none can take a row back (retract).
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.sql.types import BIGINT, DOUBLE, Kind, Type, decimal_type


@dataclass(frozen=True, slots=True)
class Accumulator:
    """One field of a group's state: lines of generated code over {f} (the field), {v} (the value), {o} (its order)."""

    kind: str
    update: tuple[str, ...]
    merge: tuple[str, ...]
    """{g} is the field of the other state."""
    ordered: bool = False
    """Needs the order of rows: (event time, source partition, offset)."""


_KEEP_FIRST = ("order = {o}", "if {f} is None or order < {f}[:3]:", "    {f} = (*order, {v})")
_KEEP_LAST = ("order = {o}", "if {f} is None or order >= {f}[:3]:", "    {f} = (*order, {v})")
ACCUMULATORS: dict[str, Accumulator] = {
    "count": Accumulator("count", ("{f} += 1",), ("{f} += {g}",)),
    "nulls": Accumulator("nulls", ("{f} += 1",), ("{f} += {g}",)),
    "sum": Accumulator("sum", ("{f} += {v}",), ("{f} += {g}",)),
    "decimal_sum": Accumulator("decimal_sum", ("{f} = decimal_add({f}, {v})",), ("{f} = decimal_add({f}, {g})",)),
    "min": Accumulator(
        "min",
        ("if {f} is None or {v} < {f}:", "    {f} = {v}"),
        ("if {f} is None or ({g} is not None and {g} < {f}):", "    {f} = {g}"),
    ),
    "max": Accumulator(
        "max",
        ("if {f} is None or {v} > {f}:", "    {f} = {v}"),
        ("if {f} is None or ({g} is not None and {g} > {f}):", "    {f} = {g}"),
    ),
    "distinct": Accumulator("distinct", ("{f}.add({v})",), ("{f} |= {g}",)),
    "first": Accumulator(
        "first", _KEEP_FIRST, ("if {f} is None or ({g} is not None and {g}[:3] < {f}[:3]):", "    {f} = {g}"), True
    ),
    "last": Accumulator(
        "last", _KEEP_LAST, ("if {f} is None or ({g} is not None and {g}[:3] >= {f}[:3]):", "    {f} = {g}"), True
    ),
}


@dataclass(frozen=True, slots=True)
class AggregateFunction:
    """A function by all its names. `counts`: its result is never NULL."""

    name: str
    aliases: tuple[str, ...]
    doc: str
    numeric: bool = False
    counts: bool = False

    def accumulators(self, operand: Type | None) -> tuple[str, ...]:
        """Kinds of accumulators that it keeps."""
        total = "decimal_sum" if operand is not None and operand.kind is Kind.DECIMAL else "sum"
        return {
            "COUNT": ("count",),
            "COUNT_DISTINCT": ("distinct",),
            "SUM": ("count", total),
            "AVG": ("count", total),
            "MIN": ("min",),
            "MAX": ("max",),
            "FIRST_VALUE": ("first",),
            "LAST_VALUE": ("last",),
        }[self.name]

    def result_type(self, operand: Type | None) -> Type:
        match self.name, operand:
            case ("COUNT" | "COUNT_DISTINCT", _) | (_, None):
                return BIGINT
            case "SUM", Type(kind=Kind.INT | Kind.BIGINT):
                return BIGINT
            case "SUM", Type(kind=Kind.DECIMAL, scale=scale):
                return decimal_type(38, scale)
            case "AVG", Type(kind=Kind.DECIMAL, scale=scale):
                return decimal_type(38, max(6, scale))
            case "AVG", _:
                return DOUBLE
            case _, Type() as type_:
                return type_


FUNCTIONS: tuple[AggregateFunction, ...] = (
    AggregateFunction("COUNT", (), "The number of rows, or of rows whose operand is not NULL.", counts=True),
    AggregateFunction("COUNT_DISTINCT", (), "The number of different values. Also COUNT(DISTINCT x).", counts=True),
    AggregateFunction("SUM", (), "The sum, exact for integers and DECIMAL; NULL over nothing.", numeric=True),
    AggregateFunction("AVG", ("MEAN",), "The mean; DECIMAL for DECIMAL, else DOUBLE; NULL over nothing.", numeric=True),
    AggregateFunction("MIN", (), "The smallest value."),
    AggregateFunction("MAX", (), "The largest value."),
    AggregateFunction(
        "FIRST_VALUE",
        ("FIRST", "EARLIEST_BY_OFFSET"),
        "The value of the first row by (event time, source partition, offset) whose operand is not NULL.",
    ),
    AggregateFunction(
        "LAST_VALUE",
        ("LAST", "LATEST_BY_OFFSET"),
        "The value of the last row by (event time, source partition, offset) whose operand is not NULL.",
    ),
)
BY_NAME: dict[str, AggregateFunction] = {name: f for f in FUNCTIONS for name in (f.name, *f.aliases)}

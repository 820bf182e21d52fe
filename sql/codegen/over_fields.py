"""The state of one partition of an OVER, as fields of a Struct that generated code calls `acc`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from headrace.sql.codegen.accumulators import AccumulatorFields
from headrace.sql.codegen.writer import safe_name
from headrace.sql.expressions import AggregateCall, Frame, OverCall
from headrace.sql.functions.totals import COUNT_FUNCTION, ROWS
from headrace.sql.over_layout import is_bounded, is_exact
from headrace.sql.runtime.watermarks import START
from headrace.sql.types import Type, python_type
from headrace.sql.vocabulary import FrameUnit

_COUNT = AggregateCall(COUNT_FUNCTION, (), (), False, (), (), None, ROWS)
_NUMBERS = ("ROW_NUMBER", "RANK", "DENSE_RANK", "NTH_VALUE")
"""Functions that need the number of rows so far."""


def column_type(type_: Type, *, nullable: bool) -> Any:
    """The class of the values of a column."""
    python = python_type(type_)
    return python | None if nullable else python


def is_range(call: OverCall) -> bool:
    """Whether a result is known only when all rows of one time have come."""
    return call.frame is not None and call.frame.unit is FrameUnit.RANGE


class OverFields:
    """The state `acc` of a partition: what calls keep up, its last rows, and rows that wait for the next ones."""

    def __init__(self, calls: Iterable[OverCall]) -> None:
        calls = tuple(calls)
        taken = {"rank", "dense", "rank_time", "rows", "ahead"}
        everything = [call for call in calls if not is_bounded(call.frame)]
        totals = [call.aggregate for call in everything if call.aggregate is not None]
        if any(call.name in _NUMBERS for call in everything):
            totals.append(_COUNT)
        self.totals = AccumulatorFields(totals, taken)
        self.moving: dict[Frame, AccumulatorFields] = {}
        """What is kept up over frames that rows leave again."""
        for call in calls:
            if call.frame is not None and is_bounded(call.frame) and is_exact(call) and call.frame not in self.moving:
                same = [c.aggregate for c in calls if c.frame == call.frame and c.aggregate and is_exact(c)]
                self.moving[call.frame] = AccumulatorFields(same, taken)
        self.edges: dict[tuple[str, str, int], str] = {}
        """Fields of FIRST_VALUE, LAST_VALUE and NTH_VALUE over all rows, by function, operand and number."""
        self._edge_types: list[tuple[str, Any, Any]] = []
        for call in everything:
            if call.name in ("FIRST_VALUE", "LAST_VALUE", "NTH_VALUE"):
                self._add_edge(call, taken)
        self.ranks = any(call.name in ("RANK", "DENSE_RANK") for call in calls)

    def _add_edge(self, call: OverCall, taken: set[str]) -> None:
        assert call.operand is not None
        key = (call.name, call.operand.name, call.rows)
        if key in self.edges or (call.name == "LAST_VALUE" and not is_range(call)):
            return
        what = call.name.removesuffix("_VALUE").lower()
        self.edges[key] = safe_name(f"{what}{call.rows or ''}_{call.operand.name}", taken)
        python: Any = column_type(call.operand.type, nullable=True)
        type_: Any = python if call.name == "LAST_VALUE" else tuple[python] | None
        self._edge_types.append((self.edges[key], type_, None))

    def struct(self, rows: Any, ahead: Any) -> type:
        """The class of the state, with lists of these types where there are any."""
        fields = self.totals.definitions()
        for accumulators in self.moving.values():
            fields += accumulators.definitions()
        fields += self._edge_types
        if self.ranks:
            fields += [("rank", int, 0), ("dense", int, 0), ("rank_time", int, START)]
        for name, type_ in (("rows", rows), ("ahead", ahead)):
            fields += [(name, list[type_], msgspec.field(default_factory=list))] if type_ is not None else []  # type: ignore[valid-type]
        return msgspec.defstruct("Partition", fields, array_like=True, gc=False)

    def sums(self) -> tuple[str, ...]:
        """Fields of integer sums, which are exact without bound."""
        return self.totals.totals() + tuple(name for fields in self.moving.values() for name in fields.totals())

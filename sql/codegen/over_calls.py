"""The calls of an OVER as generated code: what a row changes in the state of its partition, and what results it has."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack

import msgspec

from headrace.sql import physical as ph
from headrace.sql.codegen.accumulators import AccumulatorField, AccumulatorFields, retract_lines, update_lines
from headrace.sql.codegen.expressions import Names
from headrace.sql.codegen.over_fields import OverFields, is_range
from headrace.sql.codegen.traits import comment
from headrace.sql.codegen.writer import FunctionWriter, bare, key_code, safe_name, tuple_text
from headrace.sql.expressions import AggregateCall, Column, Expr, Frame, OverCall
from headrace.sql.over_layout import is_bounded, is_exact, layout_of
from headrace.sql.runtime.values import mean_double, sum_double
from headrace.sql.vocabulary import FrameUnit

_VARIABLES = (
    *("row", "time", "origin", "position", "key", "acc", "log", "history"),
    *("at", "gone", "past", "peers", "made", "before"),
)
"""What the functions of an OVER call their own variables."""


class CallWriter:
    """Writes the calls of one OVER, for a function whose `variables` hold columns and results by name."""

    def __init__(self, names: Names, operator: ph.OverOp) -> None:
        self.layout = layout_of(operator.calls)
        self.fields = OverFields(call for _, call in operator.calls)
        self.history = list(dict.fromkeys(_looked_back(operator)))
        """Columns of the rows that are kept, behind their time."""
        self.variables: dict[str, str] = {}
        self._names = names
        self._operator = operator
        self._groups = operator.number + 1
        self._logs = self._groups + self.layout.has_groups
        self.by = ", ".join(comment(column.name) for column in operator.keys) or "everything"

    @property
    def state(self) -> list[str]:
        """Variables in which a partition's state stands, once a row has met it."""
        found = ["acc"] if self.layout.has_groups else []
        return [*found, "history"] if self.layout.rows or self.layout.span_ms is not None else found

    def begin(self, function: FunctionWriter) -> None:
        """Write into another function."""
        function.taken |= set(_VARIABLES)
        self.variables = {}

    def meet(self, function: FunctionWriter) -> None:
        """The row `row` becomes part of the state of its partition."""
        function.line(f"# over by {self.by}")
        key = key_code([self.variables[column.name] for column in self._operator.keys])
        if not key.isidentifier():
            function.line(f"key = {key}")
            key = "key"
        if self.layout.has_groups:
            self._find(function, self._groups, "acc", key, f"task.states[{self._groups}].groups")
        if self.layout.has_log:
            self._find(function, self._logs, "log", key, f"task.states[{self._logs}]")
            function.setup(f"trim_{self._logs} = task.states[{self._logs}].trim")
            function.line("history = log.rows")
        elif self.layout.rows:
            function.line("history = acc.rows")
        self._look_back(function)
        for frame, fields in self.fields.moving.items():
            self._take_away(function, frame, fields.fields)
        if self.fields.ranks:
            with function.block("if time != acc.rank_time:"):
                function.line("acc.rank = acc.count + 1")
                function.line("acc.dense += 1")
                function.line("acc.rank_time = time")
        added = [*self.fields.totals.fields, *(f for fields in self.fields.moving.values() for f in fields.fields)]
        self._add(function, added)
        self._keep_edges(function)
        self._remember(function)

    def _find(self, function: FunctionWriter, number: int, variable: str, key: str, owner: str) -> None:
        function.setup(f"get_{number} = {owner}.cache.get")
        function.setup(f"load_{number} = {owner}.load")
        function.setup(f"dirty_{number} = {owner}.dirty")
        function.line(f"{variable} = get_{number}({key})")
        with function.block(f"if {variable} is None:"):
            function.line(f"{variable} = load_{number}({key})")
        function.line(f"dirty_{number}[{key}] = {variable}")

    def _look_back(self, function: FunctionWriter) -> None:
        """LAG, before the row is one of the last itself."""
        for name, call in self._operator.calls:
            if call.name != "LAG":
                continue
            far = call.rows
            enough = "history" if far == 1 else f"len(history) >= {far}"
            value = f"history[-{far}][{self._slot(call)}] if {enough} else {self.default(call)}"
            function.line(f"{self.result_variable(function, name)} = {value}")

    def default(self, call: OverCall) -> str:
        """What LAG and LEAD give where there is no such row."""
        if isinstance(call.default, Column):
            return self.variables[call.default.name]
        assert call.default is not None
        return self._names.literal(call.default.value)

    def _slot(self, call: OverCall) -> int:
        """Where the operand stands in a remembered row, behind its time."""
        assert call.operand is not None
        return self.history.index(call.operand.name) + 1

    def _take_away(self, function: FunctionWriter, frame: Frame, fields: list[AccumulatorField]) -> None:
        """Rows that leave a frame because of this one, taken out of what is kept up over it."""
        if frame.unit is FrameUnit.ROWS:
            assert frame.preceding is not None
            opening = f"if len(history) > {frame.preceding}:"
        else:
            bisect = self._names.bind("bisect_left", bisect_left)
            was, is_ = (f"{bisect}(history, ({time} - {frame.preceding},))" for time in ("history[-1][0]", "time"))
            function.line(f"at = {was} if history else 0")
            opening = f"for gone in history[at : {is_}]:"
        with function.block(opening):
            if frame.unit is FrameUnit.ROWS:
                function.line(f"gone = history[-{(frame.preceding or 0) + 1}]")
            places = {name: f"gone[{place}]" for place, name in enumerate(self.history, start=1)}
            for item, values in self._each(function, fields, places):
                function.lines(retract_lines(item, values, self._names))

    def _add(self, function: FunctionWriter, fields: list[AccumulatorField]) -> None:
        for item, values in self._each(function, fields, self.variables):
            function.lines(update_lines(item, values, "(time, origin, position)", self._names))

    def _each(
        self, function: FunctionWriter, fields: list[AccumulatorField], codes: Mapping[str, str]
    ) -> Iterator[tuple[AccumulatorField, list[str]]]:
        """Fields with the code of their operands, each where the row is one that they take: those over rows first."""
        by_test = dict.fromkeys((not item.operands, item.strict) for item in fields)
        for over_rows, strict in sorted(by_test, key=lambda test: not test[0]):
            tests = [f"{codes[_name(operand)]} is not None" for operand in strict]
            with function.block(f"if {' and '.join(tests)}:") if tests else ExitStack():
                for item in fields:
                    if (not item.operands, item.strict) == (over_rows, strict):
                        yield item, [codes[_name(operand)] for operand in item.operands]

    def _keep_edges(self, function: FunctionWriter) -> None:
        for (name, operand, rows), field in self.fields.edges.items():
            value = self.variables[operand]
            if name == "LAST_VALUE":
                function.line(f"acc.{field} = {value}")
                continue
            is_it = f"acc.{field} is None" if name == "FIRST_VALUE" else f"acc.count == {rows}"
            with function.block(f"if {is_it}:"):
                function.line(f"acc.{field} = ({value},)")

    def _remember(self, function: FunctionWriter) -> None:
        """The row is one of the last now."""
        if not self.layout.rows and self.layout.span_ms is None:
            return
        parts = ["time", *(self.variables[name] for name in self.history)]
        function.line(f"history.append(({tuple_text(parts)}))")
        if self.layout.has_log:
            with function.block("if len(history) > log.most:"):
                function.line(f"trim_{self._logs}(log)")
        else:
            with function.block(f"if len(history) > {self.layout.rows}:"):
                function.line("del history[0]")

    # Results

    def result_variable(self, function: FunctionWriter, name: str) -> str:
        """The variable of a result."""
        if name not in self.variables:
            self.variables[name] = safe_name(name, function.taken)
        return self.variables[name]

    def results(self, function: FunctionWriter, calls: Iterable[tuple[str, OverCall]]) -> None:
        """Results of calls over the state as it is, each in a variable."""
        frames: dict[Frame, str] = {}
        values: dict[tuple[Frame, str], str] = {}
        for name, call in calls:
            if call.name in ("LAG", "LEAD"):
                continue
            code = self._result(function, call, frames, values)
            function.line(f"{self.result_variable(function, name)} = {bare(code)}")

    def _result(
        self,
        function: FunctionWriter,
        call: OverCall,
        frames: dict[Frame, str],
        values: dict[tuple[Frame, str], str],
    ) -> str:
        if call.name in ("ROW_NUMBER", "RANK", "DENSE_RANK"):
            return {"ROW_NUMBER": "acc.count", "RANK": "acc.rank", "DENSE_RANK": "acc.dense"}[call.name]
        if call.name == "LAST_VALUE" and not is_range(call):
            assert call.operand is not None
            return self.variables[call.operand.name]
        if not is_bounded(call.frame):
            return self._result_of_all(call)
        assert call.frame is not None
        if is_exact(call):
            assert call.aggregate is not None
            return self.fields.moving[call.frame].result(call.aggregate, self._names)
        if call.name == "LAST_VALUE":
            return f"history[-1][{self._slot(call)}]"
        if call.frame not in frames:
            frames[call.frame] = safe_name("frame", function.taken)
            function.line(f"{frames[call.frame]} = {self._frame(call.frame)}")
        frame = frames[call.frame]
        if call.name == "FIRST_VALUE":
            return f"{frame}[0][{self._slot(call)}]"
        if call.name == "NTH_VALUE":
            return f"{frame}[{call.rows - 1}][{self._slot(call)}] if len({frame}) >= {call.rows} else None"
        return self._recomputed(function, call, frame, values)

    def _result_of_all(self, call: OverCall) -> str:
        if call.aggregate is not None:
            return self.fields.totals.result(call.aggregate, self._names)
        assert call.operand is not None
        field = f"acc.{self.fields.edges[call.name, call.operand.name, call.rows]}"
        if call.name == "NTH_VALUE":
            return f"(None if {field} is None else {field}[0])"
        return field if call.name == "LAST_VALUE" else f"{field}[0]"

    def _frame(self, frame: Frame) -> str:
        if frame.unit is FrameUnit.ROWS:
            assert frame.preceding is not None
            return f"history[-{frame.preceding + 1}:]"
        bisect = self._names.bind("bisect_left", bisect_left)
        return f"history[{bisect}(history, (time - {frame.preceding},)) :]"

    def _recomputed(
        self, function: FunctionWriter, call: OverCall, frame: str, values: dict[tuple[Frame, str], str]
    ) -> str:
        """An aggregate that rows cannot be taken out of again, over the rows of its frame."""
        assert call.frame is not None
        assert call.aggregate is not None
        if call.aggregate.distinct or call.name not in _OF_VALUES:
            return self._aggregated(function, call.aggregate, frame)
        (operand,) = call.aggregate.inputs
        key = (call.frame, _name(operand))
        if key not in values:
            values[key] = safe_name("operands", function.taken)
            slot = self.history.index(_name(operand)) + 1
            only = f" if past[{slot}] is not None" if operand.nullable else ""
            function.line(f"{values[key]} = [past[{slot}] for past in {frame}{only}]")
        found = values[key]
        match call.name:
            case "COUNT_DISTINCT":
                return f"len(set({found}))"
            case "MIN" | "MAX":
                return f"{call.name.lower()}({found}, default=None)"
            case "SUM":
                function_name = self._names.bind("sum_double", sum_double)
            case _:
                function_name = self._names.bind("mean_double", mean_double)
        return f"{function_name}({found})"

    def _aggregated(self, function: FunctionWriter, call: AggregateCall, frame: str) -> str:
        """Any aggregate over the rows of a frame: a state is made for them, and its result."""
        state = safe_name("state", function.taken)
        fields = AccumulatorFields((call,), set(), state=state)
        struct = self._names.bind("State", msgspec.defstruct("State", fields.definitions()))
        function.line(f"{state} = {struct}()")
        with function.block(f"for at, past in enumerate({frame}):"):
            places = {name: f"past[{place}]" for place, name in enumerate(self.history, start=1)}
            for item, values in self._each(function, fields.fields, places):
                function.lines(update_lines(item, values, "(at, 0, 0)", self._names, state))
        return fields.result(call, self._names)


_OF_VALUES = ("COUNT_DISTINCT", "MIN", "MAX", "SUM", "AVG")
"""What is simply made of the values of a frame."""


def _name(operand: Expr) -> str:
    assert isinstance(operand, Column), "operands of OVER are computed before rows wait"
    return operand.name


def _looked_back(operator: ph.OverOp) -> Iterator[str]:
    """Columns that later rows look at."""
    for _, call in operator.calls:
        if call.name == "LAG" or is_bounded(call.frame):
            read = call.aggregate.inputs if call.aggregate is not None else (call.operand,)
            yield from (column.name for column in read if isinstance(column, Column))

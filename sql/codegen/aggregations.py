"""Aggregations as generated code: what a row, or a partial aggregate, does to the state of its group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from headrace.sql import physical as ph
from headrace.sql.codegen.accumulators import Accumulators, merge_lines, update_lines
from headrace.sql.codegen.results import ResultWriter
from headrace.sql.codegen.rows import Row, RowWriter
from headrace.sql.codegen.traits import describe, purpose, reached
from headrace.sql.codegen.windows import end_code
from headrace.sql.codegen.writer import FunctionWriter, bare, key_code, safe_name
from headrace.sql.expressions import Expr
from headrace.sql.functions.totals import NULLS
from headrace.sql.runtime.watermarks import START
from headrace.sql.vocabulary import RelationKind
from headrace.sql.windows import Cumulating, Daily, Hopping, Session, Several, Single, Tumbling, step_of


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a row brings to its group, as variables: the parts of its key, the key, the operands of the calls."""

    keys: list[str]
    key: str
    operands: dict[Expr, str]


class AggregationWriter:
    """The code of one aggregation, and the layout of its state."""

    def __init__(self, rows: RowWriter, operator: ph.AggregateOp) -> None:
        self.operator = operator
        self.number = operator.number
        self._rows = rows
        self.accumulators = Accumulators(operator, self._count_flags())
        self._results = ResultWriter(rows, operator, self.accumulators)

    def _count_flags(self) -> int:
        """Number the sinks whose rows may disappear again: behind filters over an updating aggregation, of sessions."""
        if self.operator.emission in (ph.Emission.FINAL, ph.Emission.FIRST) or self.operator.form is ph.Form.PARTIAL:
            return 0
        count = 0
        for sink, filtered in reached(self.operator.consumers, filtered=False):
            changes_key = isinstance(self.operator.window, Session)
            if (filtered or changes_key) and sink.query.sink.kind is RelationKind.TABLE:
                self._rows.flags[id(sink)] = f"out_{count}"
                count += 1
        return count

    # Rows that come

    def row(self, function: FunctionWriter, row: Row) -> None:
        """A row comes to the aggregation."""
        function.line(f"# {describe(self.operator)}")
        match self.operator.window:
            case None:
                self._open_groups(function, "load")
                with self._rows.unless_too_old(function, self.operator, row):
                    self._update(function, row, None)
            case Session() as session:
                self._aggregate_session(function, row, session)
            case Tumbling() | Daily() as single:
                self._aggregate_single(function, row, single)
            case several:
                self._aggregate_several(function, row, several)

    def _aggregate_single(self, function: FunctionWriter, row: Row, window: Single) -> None:
        end = safe_name(f"end_{self.number}", function.taken)
        function.line(f"{end} = {end_code(window, row.time, self._rows.names)}")
        with ExitStack() as blocks:
            if row.newest is not None:
                with function.block(f"if {self._rows.is_late(end, window.grace_ms, row.newest, '<=')}:"):
                    function.line(f"rows.late(records, {self._rows.query(self.operator.query)})")
                blocks.enter_context(function.block("else:"))
            # A partial aggregate keeps no window: it is judged where it arrives.
            if self.operator.form is not ph.Form.PARTIAL:
                blocks.enter_context(self._rows.unless_closed(function, self.operator, end))
            self._rows.open_pane(function, self.number, end, "load")
            self._update(function, row, end)

    def _aggregate_several(self, function: FunctionWriter, row: Row, window: Several) -> None:
        """Update the group in each window that the row is in, from the first that is open."""
        number = self.number
        row = self._rows.with_first(function, self.operator, row)
        last = self._rows.last(function, window, row.time)
        query = self._rows.query(self.operator.query)
        if row.newest is not None:
            self._rows.skip_late(function, window, row, last, query)
        if self.operator.form is ph.Form.PARTIAL:
            with function.block(f"if {row.first} <= {last}:"):
                self._rows.open_pane(function, number, f"({row.first}, {last})", "load")
                self._update(function, row, f"({row.first}, {last})")
            return
        assert row.first is not None
        self._skip_closed(function, window, row.first, last)
        with function.block(f"if {row.first} <= {last}:"):
            prepared = self._prepare(function, row)
            with self._each_pane(function, window, row.first, last, "load") as end:
                self._accumulate(function, row, prepared, end)

    def _aggregate_session(self, function: FunctionWriter, row: Row, window: Session) -> None:
        """Update the session that the row belongs to: most rows belong to the newest of their group."""
        number = self.number
        query = self._rows.query(self.operator.query)
        with ExitStack() as blocks:
            if row.newest is not None:
                with function.block(f"if {self._rows.is_late(row.time, window.grace_ms, row.newest, '<')}:"):
                    function.line(f"rows.late_for_session(records, {query})")
                blocks.enter_context(function.block("else:"))
            if self.operator.form is not ph.Form.PARTIAL:
                function.setup(f"closed_{number} = task.states[{number}].closed_until")
                with function.block(f"if {row.time} + {window.gap_ms} <= closed_{number}:"):
                    function.line(f"task.late_after_idle({query})")
                blocks.enter_context(function.block("else:"))
            self._open_groups(function, "load")
            function.setup(f"place_{number} = task.states[{number}].place")
            prepared = self._prepare(function, row)
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
            self._add(function, row, prepared)
            function.line(f"dirty_{number}[{key}] = group")
            self._emit_change(function, prepared, None)

    def _skip_closed(self, function: FunctionWriter, window: Several, first: str, last: str) -> None:
        """Go on to the first window that is not closed here."""
        closed = f"closed_{self.number}"
        function.setup(f"{closed} = task.states[{self.number}].closed_until")
        with function.block(f"if {first} <= {closed}:"):
            ends = f"range({first}, {last} + 1, {step_of(window)})"
            function.line(f"{first} = task.closed_before({self._rows.query(self.operator.query)}, {ends}, {closed})")

    @contextmanager
    def _each_pane(self, function: FunctionWriter, window: Several, first: str, last: str, miss: str) -> Iterator[str]:
        """The groups of each window from the first to the last, found anew where they are not those of the last row."""
        number = self.number
        function.setup(f"open_{number} = task.states[{number}].open_each")
        function.setup(f"pane_first_{number} = pane_last_{number} = None")
        with function.block(f"if {first} != pane_first_{number} or {last} != pane_last_{number}:"):
            function.line(f"pane_first_{number}, pane_last_{number} = {first}, {last}")
            function.line(f"panes_{number} = open_{number}(range({first}, {last} + 1, {step_of(window)}))")
        end = safe_name(f"end_{number}", function.taken)
        with function.block(f"for {end}, get_{number}, {miss}_{number}, dirty_{number} in panes_{number}:"):
            yield end

    def _open_groups(self, function: FunctionWriter, miss: str) -> None:
        number = self.number
        owner = f"groups_{number}" if self.operator.ttl_ms is None else f"task.states[{number}]"
        function.setup(f"groups_{number} = task.states[{number}].groups")
        function.setup(f"get_{number} = groups_{number}.cache.get")
        function.setup(f"{miss}_{number} = {owner}.{miss}")
        function.setup(f"dirty_{number} = groups_{number}.dirty")

    def _update(self, function: FunctionWriter, row: Row, end: str | None) -> None:
        self._accumulate(function, row, self._prepare(function, row), end)

    def _prepare(self, function: FunctionWriter, row: Row) -> Prepared:
        """The key and the operands of a row, evaluated before any state changes: a bad row changes nothing."""
        keys = self._rows.key_values(function, self.operator.keys, row)
        operands = self._operand_values(function, row)
        key = key_code(keys)
        if not key.isidentifier():
            whole = safe_name(f"key_{self.number}", function.taken)
            function.line(f"{whole} = {key}")
            key = whole
        return Prepared(keys, key, operands)

    def _accumulate(self, function: FunctionWriter, row: Row, prepared: Prepared, end: str | None) -> None:
        """Add a prepared row to its group, in the window that ends there."""
        number, key = self.number, prepared.key
        function.line(f"acc = get_{number}({key})")
        if self.operator.ttl_ms is None:
            with function.block("if acc is None:"):
                function.line(f"acc = load_{number}({key})")
        else:
            with function.block(f"if acc is None or acc.time + {self.operator.ttl_ms} < {row.time}:"):
                function.line(f"acc = load_{number}({key}, {row.time})")
        if self.operator.emission is ph.Emission.FIRST:
            with function.block(f"if acc.time == {START}:  # the first of its group"):
                self._take(function, row, prepared)
                self._results.write(function, prepared.keys, key, end)
            if self.operator.ttl_ms is not None:
                with function.block(f"elif {row.time} > acc.time:"):
                    self._take(function, row, prepared)
            return
        self._take(function, row, prepared)
        self._emit_change(function, prepared, end)

    def _take(self, function: FunctionWriter, row: Row, prepared: Prepared) -> None:
        self._add(function, row, prepared)
        if self.operator.form is not ph.Form.PARTIAL:
            function.line(f"dirty_{self.number}[{prepared.key}] = acc")

    def _add(self, function: FunctionWriter, row: Row, prepared: Prepared) -> None:
        """Add a prepared row to the state `acc`."""
        accumulators = self.accumulators
        order = f"({', '.join(row.order)})"
        for item in accumulators.fields:
            if not item.operands:
                function.lines(update_lines(item, (), order, self._rows.names))
        for strict in dict.fromkeys(item.strict for item in accumulators.fields if item.operands):
            of_values: list[str] = []
            of_nulls: list[str] = []
            for item in accumulators.fields:
                if item.operands and item.strict == strict:
                    lines = of_nulls if item.accumulator is NULLS else of_values
                    values = [prepared.operands[operand] for operand in item.operands]
                    lines += update_lines(item, values, order, self._rows.names)
            if not strict:
                function.lines(of_values)
                continue
            tests = [f"{prepared.operands[operand]} is not None" for operand in strict]
            if of_values:
                with function.block(f"if {' and '.join(tests)}:"):
                    function.lines(of_values)
            if of_nulls:
                opposite = " or ".join(f"{prepared.operands[operand]} is None" for operand in strict)
                with function.block("else:" if of_values else f"if {opposite}:"):
                    function.lines(of_nulls)
        if accumulators.has_time:
            with function.block(f"if {row.time} > acc.time:"):
                function.line(f"acc.time = {row.time}")
        if accumulators.tells_changes:
            function.line("acc.changed = True")

    def _operand_values(self, function: FunctionWriter, row: Row) -> dict[Expr, str]:
        """Every operand, as a variable."""
        writer = self._rows.writer(function, row)
        operands: dict[Expr, str] = {}
        for operand in (operand for item in self.accumulators.fields for operand in item.operands):
            if operand in operands:
                continue
            code = writer.value(operand)
            if not code.isidentifier():
                variable = safe_name("operand", function.taken)
                function.line(f"{variable} = {bare(code)}")
                code = variable
            operands[operand] = code
        return operands

    def _emit_change(self, function: FunctionWriter, prepared: Prepared, end: str | None) -> None:
        if self.operator.form is ph.Form.PARTIAL:
            return
        if self.operator.emission is ph.Emission.EVERY:
            self._results.write(function, prepared.keys, prepared.key, end)
        self._hold(function, prepared.key, end)

    def _hold(self, function: FunctionWriter, key: str, end: str | None) -> None:
        """EMIT EVERY: the row of a group that has changed waits for its time."""
        if self.operator.emission is not ph.Emission.INTERVAL:
            return
        number = self.number
        holder = "group" if isinstance(self.operator.window, Session) else "acc"
        function.setup(f"hold_{number} = task.states[{number}].held.hold")
        with function.block(f"if {holder}.held is None:"):
            function.line(f"hold_{number}({f'({end}, {key})' if end is not None else key}, {holder})")

    # Partial aggregates that come

    def merge(self, function: FunctionWriter) -> None:
        """The loop over partial aggregates that merges them into their groups."""
        comment_line = f"# {describe(self.operator)}"
        match self.operator.window:
            case None:
                self._open_groups(function, "adopt")
                with function.block("for key, partial in rows:"):
                    function.line(comment_line)
                    self._merge_one(function)
            case Session() as session:
                self._merge_sessions(function, session)
            case Tumbling() | Daily():
                with function.block("for key, end, partial in rows:"):
                    function.line(comment_line)
                    with self._rows.unless_closed(function, self.operator, "end"):
                        self._rows.open_pane(function, self.number, "end", "adopt")
                        self._merge_one(function)
            case several:
                with function.block("for key, first, last, partial in rows:"):
                    function.line(comment_line)
                    self._skip_closed(function, several, "first", "last")
                    panes = self._each_pane(function, several, "first", "last", "load")
                    with function.block("if first <= last:"), panes as end:
                        number = self.number
                        function.line(f"acc = get_{number}(key)")
                        with function.block("if acc is None:"):
                            function.line(f"acc = load_{number}(key)")
                        self._merge_lines(function)
                        function.line(f"dirty_{number}[key] = acc")
                        self._hold(function, "key", end)

    def _merge_sessions(self, function: FunctionWriter, window: Session) -> None:
        number = self.number
        function.setup(f"closed_{number} = task.states[{number}].closed_until")
        function.setup(f"merge_{number} = task.states[{number}].merge")
        with function.block("for key, partial in rows:"):
            function.line(f"# {describe(self.operator)}")
            with function.block(f"if partial.last + {window.gap_ms} <= closed_{number}:"):
                function.line(f"task.late_after_idle({self._rows.query(self.operator.query)})")
            with function.block("else:"):
                changed = ".changed = True" if self.accumulators.tells_changes else ""
                function.line(f"merge_{number}(key, partial){changed}")

    def _merge_one(self, function: FunctionWriter) -> None:
        number = self.number
        function.line(f"acc = get_{number}(key)")
        with function.block("if acc is None:"):
            function.line(f"acc = adopt_{number}(key, partial)")
        with function.block("if acc is None:"):
            function.line("acc = partial  # the first of its group")
        with function.block("else:"):
            self._merge_lines(function)
        function.line(f"dirty_{number}[key] = acc")
        self._hold(function, "key", "end" if self.operator.window is not None else None)

    def _merge_lines(self, function: FunctionWriter) -> None:
        """Lines that merge the state `partial` into `acc`."""
        accumulators = self.accumulators
        for item in accumulators.fields:
            function.lines(merge_lines(item, self._rows.names))
        if accumulators.has_time:
            with function.block("if partial.time > acc.time:"):
                function.line("acc.time = partial.time")

    def partial_type(self) -> Any:
        """The type in which partial aggregates cross: (key, the windows that they are for, state)."""
        key, state = self.accumulators.key_type, self.accumulators.struct
        row: Any = tuple
        match self.operator.window:
            case None | Session():
                return row[key, state]
            case Hopping() | Cumulating():
                return row[key, int, int, state]
            case _:
                return row[key, int, state]

    # Functions beside those that take rows

    def functions(self) -> Iterator[FunctionWriter]:
        """What unites sessions, and what passes results on."""
        if isinstance(self.operator.window, Session):
            yield self._unite_sessions()
        yield from self._results.functions()

    def _unite_sessions(self) -> FunctionWriter:
        doc = f"Add a session's part to another of {purpose(self.operator)}."
        function = FunctionWriter(f"unite_{self.number}(acc, partial)", doc)
        self._merge_lines(function)
        function.line("acc.start = min(acc.start, partial.start)")
        function.line("acc.last = max(acc.last, partial.last)")
        for flag in self.accumulators.flags:
            function.line(f"acc.{flag} = acc.{flag} + partial.{flag}")
        return function

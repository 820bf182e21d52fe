"""Results of aggregations as generated code: a group's row for the consumers, and the functions that pass rows on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from headrace.sql import physical as ph
from headrace.sql import plan as p
from headrace.sql.codegen.accumulators import Accumulators
from headrace.sql.codegen.expressions import Variable
from headrace.sql.codegen.rows import Group, Row, RowWriter
from headrace.sql.codegen.traits import may_fail, purpose, reached
from headrace.sql.codegen.windows import start_code
from headrace.sql.codegen.writer import FunctionWriter, bare, safe_name, tuple_text
from headrace.sql.runtime.codec import encode_key
from headrace.sql.vocabulary import RelationKind
from headrace.sql.windows import Cumulating, Hopping, Session


class ResultWriter:
    """The results of one aggregation."""

    def __init__(self, rows: RowWriter, operator: ph.AggregateOp, accumulators: Accumulators) -> None:
        self._rows = rows
        self._operator = operator
        self._number = operator.number
        self._accumulators = accumulators

    def write(self, function: FunctionWriter, keys: list[str], key: str, end: str | None) -> None:
        """The group's row for the consumers of an aggregation; an error above it keeps the state."""
        accumulators = self._accumulators
        group = self._group(keys, key, end)
        if isinstance(self._operator.window, Session) and self._operator.form is not ph.Form.PARTIAL:
            start, end = safe_name("session_start", function.taken), safe_name("session_end", function.taken)
            function.line(f"{start}, {end} = acc.start, acc.last + {self._operator.window.gap_ms}")
            group = replace(group, start=start, end=end)
        columns = {name: variable for name, variable, _ in group.keys}
        if group.start is not None and group.end is not None:
            columns[p.WINDOW_START] = Variable(f"({group.start})", False)
            columns[p.WINDOW_END] = Variable(group.end, False)
        newest = "acc.last" if accumulators.is_session else "acc.time"
        time = f"({group.end} - 1)" if self._operator.final and group.end is not None else newest
        if group.end is None and _has_state(self._operator.consumers):  # `acc` will be another's
            time = safe_name("newest", function.taken)
            function.line(f"{time} = {newest}")
        encode = self._rows.names.bind("encode_key", encode_key)
        wanted = {column.name for consumer in self._operator.consumers for column in ph.needed(consumer)}
        results = [(name, call) for name, call in self._operator.calls if name in wanted]
        row = Row(columns, time, (time, f"{encode}({key})", "0"), None, group)

        def write() -> None:
            for name, call in results:
                variable = safe_name(name, function.taken)
                function.line(f"{variable} = {bare(accumulators.result(call, self._rows.names))}")
                columns[name] = Variable(variable, call.nullable)
            self._rows.consumers(function, self._operator.consumers, row)

        if self._operator.form is ph.Form.PARTIAL or not self._results_may_fail():
            write()
            return
        query = self._rows.query(self._operator.query)
        with function.block("try:"):
            write()
        with function.block("except RecordError as error:"):
            self._rows.reject_result(function, query, group)

    def _group(self, keys: list[str], key: str, end: str | None) -> Group:
        """The group of an aggregation whose key stands in variables, in the window that ends there."""
        parts = tuple(
            (name, Variable(code, expr.nullable), expr.type)
            for (name, expr), code in zip(self._operator.keys, keys, strict=True)
        )
        start: str | None = None
        windows: tuple[str, ...] = ()
        match self._operator.window:
            case None:
                pass
            case Session():
                end = None
            case Hopping() | Cumulating() if self._operator.form is ph.Form.PARTIAL:
                windows, end = ("first", "last"), None
            case window:
                assert end is not None
                start, windows = start_code(window, end, self._rows.names), (end,)
        return Group(
            parts, key, start, end, windows, not self._operator.final, isinstance(self._operator.window, Session)
        )

    def _results_may_fail(self) -> bool:
        failing = any(call.aggregation.fails for _, call in self._operator.calls)
        return failing or any(may_fail(consumer) for consumer in self._operator.consumers)

    # Functions: changes at a commit, results when windows close

    def functions(self) -> Iterator[FunctionWriter]:
        """What passes results on, later than their rows come."""
        operator, number = self._operator, self._number
        if operator.form is ph.Form.PARTIAL:
            yield self._function(f"send_{number}(task)", "Send partial aggregates on", self._drain_loop)
            return
        if operator.window is not None:
            doc = "Close the windows that end by `until` of"
            yield self._function(f"close_{number}(task, until)", doc, self._close_loop)
        elif operator.final:
            doc = "Emit every group, at the end of a finite run, of"
            yield self._function(f"finish_{number}(task)", doc, self._finish_loop)
        if operator.emission is ph.Emission.LATEST:
            doc = "Emit the newest row of each changed group of"
            yield self._function(f"changes_{number}(task)", doc, self._latest_loop)
        elif operator.emission is ph.Emission.INTERVAL:
            doc = "Emit the rows that were held back and are due of"
            yield self._function(f"release_{number}(task, until)", doc, self._release_loop)
        if operator.ttl_ms is not None:
            doc = "Delete the groups that no row came for in time, of"
            yield self._function(f"expire_{number}(task, watermark)", doc, self._expire_loop)

    def _function(self, signature: str, doc: str, loop: Callable[[FunctionWriter], None]) -> FunctionWriter:
        function = FunctionWriter(signature, f"{doc} {purpose(self._operator)}.")
        function.taken |= {"key", "acc", "end", "pane"}
        loop(function)
        return function

    def _each(self, function: FunctionWriter, entries: str, end: str | None) -> None:
        """Results of (key, acc) entries."""
        with function.block(f"for key, acc in {entries}:"):
            self.write(function, self._keys(function), "key", end)

    def _keys(self, function: FunctionWriter) -> list[str]:
        """The parts of `key`, as variables."""
        if len(self._operator.keys) == 1:
            return ["key"]
        keys = [safe_name(name, function.taken) for name, _ in self._operator.keys]
        if keys and self._operator.form is not ph.Form.PARTIAL:
            function.line(f"{tuple_text(keys)} = key")
        return keys

    def _drain_loop(self, function: FunctionWriter) -> None:
        state = f"task.states[{self._number}]"
        match self._operator.window:
            case None:
                self._each(function, f"{state}.groups.drain()", None)
            case Session():
                self._each(function, f"{state}.drain()", None)
            case Hopping() | Cumulating():
                with function.block(f"for (first, last), entries in {state}.drain():"):
                    self._each(function, "entries", None)
            case _:
                with function.block(f"for end, entries in {state}.drain():"):
                    self._each(function, "entries", "end")

    def _close_loop(self, function: FunctionWriter) -> None:
        state = f"task.states[{self._number}]"
        if self._operator.emission is ph.Emission.EVERY:
            with function.block(f"for _ in {state}.close(until):"):
                function.line("pass  # every change is out already")
        elif isinstance(self._operator.window, Session):
            self._each_session(function, f"{state}.close(until)")
        else:
            with function.block(f"for end, pane in {state}.close(until):"):
                groups = {
                    ph.Emission.FINAL: "pane.load_all()",
                    ph.Emission.LATEST: "pane.take_dirty()",
                    ph.Emission.INTERVAL: f"{state}.withheld(end, pane)",
                }
                self._each(function, groups[self._operator.emission], "end")

    def _each_session(self, function: FunctionWriter, entries: str) -> None:
        """Results of the sessions among (key, acc) entries that have changed."""
        if self._operator.final:
            self._each(function, entries, None)
            return
        with function.block(f"for key, acc in {entries}:"), function.block("if acc.changed:"):
            function.line("acc.changed = False")
            self.write(function, self._keys(function), "key", None)

    def _finish_loop(self, function: FunctionWriter) -> None:
        self._each(function, f"task.states[{self._number}].groups.load_all()", None)

    def _latest_loop(self, function: FunctionWriter) -> None:
        state = f"task.states[{self._number}]"
        if self._operator.window is None:
            self._each(function, f"{state}.groups.take_dirty()", None)
        elif isinstance(self._operator.window, Session):
            self._each_session(function, f"{state}.changed()")
        else:
            with function.block(f"for end, pane in {state}.changed.items():"):
                self._each(function, "pane.take_dirty()", "end")

    def _release_loop(self, function: FunctionWriter) -> None:
        due = f"task.states[{self._number}].due(until)"
        if self._operator.window is None:
            self._each(function, due, None)
        elif isinstance(self._operator.window, Session):
            self._each_session(function, due)
        else:
            with function.block(f"for end, key, acc in {due}:"):
                self.write(function, self._keys(function), "key", "end")

    def _expire_loop(self, function: FunctionWriter) -> None:
        expiring = f"task.states[{self._number}].expire(watermark)"
        if not self._tables():
            with function.block(f"for _ in {expiring}:"):
                function.line("pass  # rows of a stream stay")
            return
        with function.block(f"for key, acc in {expiring}:"):
            self._tombstones(function, self._keys(function), "key")

    def _tables(self) -> list[ph.SinkOp]:
        """The tables that hold the rows of an aggregation."""
        sinks = (sink for sink, _ in reached(self._operator.consumers, filtered=False))
        return [sink for sink in sinks if sink.query.sink.kind is RelationKind.TABLE]

    def _tombstones(self, function: FunctionWriter, keys: list[str], key: str) -> None:
        """Take the row of the group `acc` back from every table where it is out."""
        row = Row({}, "acc.time", ("acc.time", "b''", "0"), None, self._group(keys, key, None))
        for sink in self._tables():
            with ExitStack() as blocks:
                if id(sink) in self._rows.flags:
                    blocks.enter_context(function.block(f"if acc.{self._rows.flags[id(sink)]}:"))
                if not may_fail(sink):
                    self._rows.append_sink(function, sink, row, "None")
                    continue
                with function.block("try:"):
                    self._rows.append_sink(function, sink, row, "None")
                with function.block("except RecordError:"):
                    function.line("pass  # a row that has no key was never out")


def _has_state(operators: tuple[ph.Operator, ...]) -> bool:
    """Whether rows come to another operator with state."""
    return any(isinstance(op, (ph.AggregateOp, ph.OverOp, ph.TopOp)) for op in ph.walk(operators))

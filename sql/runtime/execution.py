"""A stage at work in one task: its state, watermarks and outputs, as generated code sees them."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from headrace.sql.errors import RecordError
from headrace.sql.runtime.chance import Chance
from headrace.sql.runtime.holding import Clock
from headrace.sql.runtime.logs import Logs
from headrace.sql.runtime.outputs import ExchangeBuffer, SinkBuffer
from headrace.sql.runtime.records import Headers, Output, RecordBatch
from headrace.sql.runtime.sessions import PartialSessions, SessionState
from headrace.sql.runtime.state import GroupedState
from headrace.sql.runtime.waiting import WaitingRows
from headrace.sql.runtime.watermarks import END, Watermarks
from headrace.sql.runtime.windowed import PartialWindows, WindowedState
from headrace.sql.vocabulary import Late, OnError

AggregationState = GroupedState | WindowedState | SessionState | PartialWindows | PartialSessions
OperatorState = AggregationState | WaitingRows | Logs


class RecordRefusedError(Exception):
    """A query with `on_error = 'fail'` met a bad record: the task must stop before committing past it."""


@dataclass(slots=True)
class QueryCounters:
    """What happened to the records of one query. Written by its task alone, read without locks."""

    late: int = 0
    """Records that came too late, counted once for each window that they missed."""
    late_after_idle: int = 0
    """Rows for a window that closed while their source partition was idle, or that a crash made come again."""
    dead_lettered: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class QueryErrors:
    """How a query takes bad and late records."""

    name: str
    on_error: OnError
    late: Late


class Rows:
    """Rows of one record batch for one consumer: parallel sequences, one entry a row."""

    __slots__ = ("_execution", "batch", "headers", "keys", "newest", "offsets", "positions", "rows", "times")

    def __init__(
        self,
        execution: StageExecution,
        batch: RecordBatch,
        rows: Sequence[Any],
        positions: Sequence[int] | None,
        times: Sequence[int],
        newest: Sequence[int],
        needs: frozenset[str],
    ) -> None:
        self._execution = execution
        self.batch = batch
        self.rows = rows
        self.positions = positions
        self.times = times
        """Event time of each row."""
        self.newest = newest
        """Largest event time of the source partition before each row."""
        self.offsets = self._pick(batch.offsets) if "offsets" in needs else ()
        self.keys = self._pick(batch.keys) if "keys" in needs else ()
        self.headers = self._pick(batch.headers) if "headers" in needs else ()

    def _pick(self, values: Sequence[Any]) -> Sequence[Any]:
        return values if self.positions is None else [values[position] for position in self.positions]

    def position(self, reader: Iterator[Any]) -> int:
        """Position in the batch of the row that an iterator over `rows` gave last."""
        index = len(self.rows) - operator.length_hint(reader) - 1
        return index if self.positions is None else self.positions[index]

    def reject(self, reader: Iterator[Any], query: QueryErrors, error: RecordError) -> None:
        """The row read last is bad for a query."""
        self._execution.reject(self.batch, self.position(reader), query, error)

    def late(self, reader: Iterator[Any], query: QueryErrors) -> None:
        """The row read last came after its window had closed."""
        self._execution.late(self.batch, self.position(reader), query, "the record came after its window had closed")

    def late_for_session(self, reader: Iterator[Any], query: QueryErrors) -> None:
        """The row read last came after its session could have closed."""
        cause = "the record is older than its partition's watermark allows for a session"
        self._execution.late(self.batch, self.position(reader), query, cause)

    def late_until(self, reader: Iterator[Any], query: QueryErrors, ends: range, watermark: int) -> int:
        """The row read last came after some of its windows (by their ends) had closed; the first that had not."""
        missed = ends_until(ends, watermark)
        if missed:
            cause = f"the record came after {missed} of its {len(ends)} windows had closed"
            self._execution.late(self.batch, self.position(reader), query, cause, missed)
        return ends.start + missed * ends.step

    def late_for_over(self, reader: Iterator[Any], query: QueryErrors) -> None:
        """The row read last came after the rows of its time had been passed on."""
        self._execution.late(
            self.batch, self.position(reader), query, "the record is older than its partition's watermark"
        )

    def too_old(self, reader: Iterator[Any], query: QueryErrors) -> None:
        """The row read last came after its group may have been deleted."""
        cause = "the record is older than its partition's watermark by more than the ttl"
        self._execution.late(self.batch, self.position(reader), query, cause)


class StageExecution:
    """State, watermarks, outputs and counters of one stage in one task. Single-threaded; shares nothing."""

    def __init__(
        self,
        states: Sequence[OperatorState],
        sinks: Sequence[SinkBuffer],
        exchanges: Sequence[ExchangeBuffer],
        watermarks: Watermarks,
        clock: Clock,
        chance: Chance,
        dead_letter_topic: str,
    ) -> None:
        self.states = states
        self.sinks = sinks
        self.exchanges = exchanges
        self.watermarks = watermarks
        self.clock = clock
        """Wall time: what generated code takes for the present."""
        self.chance = chance
        self.reread = next((s for s in states if isinstance(s, WindowedState) and s.reread), None)
        """The windows that are made anew after a restart, from rows that are read again."""
        self.finished = False
        """The end of a finite run was acted on: what is emitted there is emitted once."""
        self.counters: dict[str, QueryCounters] = {}
        self._dead_letters = Output(dead_letter_topic, None, headers=[])

    def restore(self, watermarks: list[tuple[int, int, bool]], current: int) -> None:
        """Watermarks as a checkpoint holds them; all that they called for was emitted before it."""
        self.watermarks.restore(watermarks, current)
        self.finished = self.watermarks.current() == END

    @property
    def again(self) -> bool:
        """Rows come that were read, and counted, before the last commit."""
        return self.reread is not None and self.reread.again

    def query(self, name: str) -> QueryCounters:
        return self.counters.setdefault(name, QueryCounters())

    def reject(self, batch: RecordBatch, position: int, query: QueryErrors, error: RecordError) -> None:
        """A record is bad for a query: dead letter, skipped, or the end of the task, as the query wants it."""
        if query.on_error is OnError.FAIL:
            raise RecordRefusedError(
                f"query `{query.name}`: {error} (topic {batch.topic}, partition {batch.partition}, "
                f"offset {batch.offsets[position]}; on_error = 'fail')"
            )
        counters = self.query(query.name)
        if query.on_error is OnError.SKIP:
            counters.skipped += 1
            return
        counters.dead_lettered += 1
        self._dead_letter(batch, position, query.name, error.kind, str(error))

    def late_after_idle(self, query: QueryErrors) -> None:
        """A row came for a window that is closed here, though it was not late where it was read."""
        if not self.again:
            self.query(query.name).late_after_idle += 1

    def closed_before(self, query: QueryErrors, ends: range, closed_until: int) -> int:
        """As `late_after_idle`, for some of the windows of a row; the first that is not closed."""
        closed = ends_until(ends, closed_until)
        if not self.again:
            self.query(query.name).late_after_idle += closed
        return ends.start + closed * ends.step

    def late(self, batch: RecordBatch, position: int, query: QueryErrors, cause: str, windows: int = 1) -> None:
        """A record comes too late for windows of a query, which counts them; it is not in their results."""
        self.query(query.name).late += windows
        if query.late is Late.DEAD_LETTER:
            self._dead_letter(batch, position, query.name, "late", cause)

    def reject_result(self, query: QueryErrors, group: dict[str, Any], error: RecordError) -> None:
        """A result row cannot be made: it becomes a dead letter that holds its group; the state is kept."""
        if query.on_error is OnError.FAIL:
            raise RecordRefusedError(f"query `{query.name}`: {error} (group {group}; on_error = 'fail')")
        counters = self.query(query.name)
        if query.on_error is OnError.SKIP:
            counters.skipped += 1
            return
        counters.dead_lettered += 1
        value = msgspec.json.encode(group)
        self._append_dead_letter(value, value, 0, (), _error_headers(error.kind, str(error), query.name))

    def _dead_letter(self, batch: RecordBatch, position: int, query: str, kind: str, message: str) -> None:
        headers = [
            *_error_headers(kind, message, query),
            ("headrace.error.topic", batch.topic.encode()),
            ("headrace.error.partition", b"%d" % batch.partition),
            ("headrace.error.offset", b"%d" % batch.offsets[position]),
        ]
        timestamp = batch.timestamps[position]
        original = batch.headers[position] or ()
        self._append_dead_letter(batch.keys[position], batch.values[position], timestamp, original, headers)

    def _append_dead_letter(
        self, key: bytes | None, value: bytes | None, timestamp: int, original: Headers, headers: Headers
    ) -> None:
        output = self._dead_letters
        assert output.headers is not None
        output.keys.append(key)
        output.values.append(value)
        output.timestamps.append(max(0, timestamp))
        output.headers.append([*original, *headers])

    def take_dead_letters(self) -> list[Output]:
        if not len(self._dead_letters):
            return []
        taken, self._dead_letters = self._dead_letters, Output(self._dead_letters.topic, None, headers=[])
        return [taken]


def ends_until(ends: range, until: int) -> int:
    """How many of the windows end at or before `until`."""
    return max(0, min(len(ends), (until - ends.start) // ends.step + 1))


def _error_headers(kind: str, message: str, query: str) -> list[tuple[str, bytes]]:
    return [
        ("headrace.error.class", kind.encode()),
        ("headrace.error.message", message.encode()),
        ("headrace.error.query", query.encode()),
    ]

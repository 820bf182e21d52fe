"""A compiled stage: record batches in, outputs and state changes out. The caller keeps state and moves bytes."""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from headrace.sql import physical as ph
from headrace.sql.codegen.stage import GeneratedStage, generate
from headrace.sql.explain import explain_rows, explain_stage
from headrace.sql.formats import FormatName
from headrace.sql.plan import Query, value_columns
from headrace.sql.runtime.chance import Chance
from headrace.sql.runtime.codec import Block
from headrace.sql.runtime.decoder import Decoded, SourceDecoder
from headrace.sql.runtime.delimited import DelimitedDecoder
from headrace.sql.runtime.encoders import encoder
from headrace.sql.runtime.execution import AggregationState, OperatorState, QueryErrors, Rows, StageExecution
from headrace.sql.runtime.expiry import ExpiringState
from headrace.sql.runtime.holding import Clock, HeldRows
from headrace.sql.runtime.opaque import restore
from headrace.sql.runtime.outputs import ExchangeBuffer, MutedSink, SinkBuffer
from headrace.sql.runtime.records import RecordBatch, Store
from headrace.sql.runtime.sessions import PartialSessions, SessionState
from headrace.sql.runtime.single_values import SingleValueDecoder
from headrace.sql.runtime.state import GroupedState, timers_prefix
from headrace.sql.runtime.watermarks import END, Watermarks, earlier, newest_before
from headrace.sql.runtime.windowed import PartialWindows, WindowedState
from headrace.sql.windows import Session, Several, most_windows

_WITH_QUERY = (ph.SinkOp, ph.AggregateOp, ph.OverOp, ph.TopOp, ph.RowsToExchange)
_decode_block = msgspec.msgpack.Decoder(Block).decode


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a stage runs: what its task has to know of the topology."""

    sender: int
    """The number by which stages behind know this task: its partition."""
    senders: tuple[int, ...]
    """Who feeds it: source partitions, or the tasks of the stage before (of those before, by task and then branch)."""
    peers: tuple[int, ...]
    """Source partitions that other tasks of the stage read and tell it of."""
    endless: bool
    """Whether senders may be idle; in a finite run they come to an end."""
    exchange_topics: Mapping[str, str]
    """Repartition topic of each stage that this one sends to."""
    parallelism: int
    dead_letter_topic: str
    diverted: Mapping[str, str | None]
    """Sink topics in whose place another one takes the records; None: no topic does."""


def _sink_buffer(query: Query, diverted: Mapping[str, str | None]) -> SinkBuffer:
    sink = query.sink
    types = [column.type for column in value_columns(query.node, sink)]
    encode = encoder(sink.value_format, types)
    topic = diverted.get(sink.topic, sink.topic)
    return MutedSink(sink.topic, encode) if topic is None else SinkBuffer(topic, encode)


def _version(stage: ph.Stage) -> str:
    """The same for stages that do the same; where state is kept, to rows that are made in the same way."""
    made_of = (explain_rows(keeper.query.node) for keeper in stage.keepers)
    return hashlib.sha256("\n".join((explain_stage(stage), *made_of)).encode()).hexdigest()[:16]


class CompiledStage:
    """A stage of the physical plan as running code. Shared by all its tasks; holds no state of theirs."""

    def __init__(self, stage: ph.Stage) -> None:
        self.stage = stage
        self.generated: GeneratedStage = generate(stage)
        self.plan_version = _version(stage)
        names: dict[str, Any] = dict(self.generated.names)
        filename = f"<headrace {stage.name}>"
        linecache.cache[filename] = (
            len(self.generated.text),
            None,
            self.generated.text.splitlines(keepends=True),
            filename,
        )
        exec(compile(self.generated.text, filename, "exec"), names)  # the text is ours: no text of the user is in it
        self.by_wall_time = isinstance(stage.input, ph.SourceInput) and stage.input.source.event_time.processing
        """Its event time is the wall time at which records are read."""
        self._inputs = [names[function.name] for function in self.generated.inputs]
        self._advance = names["advance"]
        self._flush = names["flush"]
        self._elapse = names.get("elapse")
        self._unite = {
            operator.number: names[f"unite_{operator.number}"]
            for operator, _ in self.generated.accumulators
            if isinstance(operator.window, Session)
        }
        self._needs_newest = any("newest" in function.needs for function in self.generated.inputs)
        self._codecs = [accumulators.codec() for _, accumulators in self.generated.accumulators]
        row_type: Any = self.generated.row_type
        decoder = (
            msgspec.msgpack.Decoder(list[row_type], strict=False, dec_hook=restore) if row_type is not None else None
        )
        self._decode_rows = decoder.decode if decoder is not None else None

    def open(
        self, placement: Placement, store: Store | None, live: Mapping[int, int], chance: Chance
    ) -> StageExecution:
        """The stage at work over a store; `live` is how many groups the store holds for each aggregation."""
        clock = Clock()
        states: dict[int, OperatorState] = {
            operator.number: self._state(operator, codec, store, live.get(operator.number, 0), clock)
            for (operator, _), codec in zip(self.generated.accumulators, self._codecs, strict=True)
        }
        for writer in self.generated.ordered:
            assert store is not None
            states.update(enumerate(writer.open(store, live), writer.number))
        sinks = [_sink_buffer(query, placement.diverted) for query in self.generated.sinks]
        exchanges = [
            ExchangeBuffer(
                placement.exchange_topics[exchange.stage],
                placement.parallelism,
                placement.sender * exchange.branches + exchange.branch,
                self._storable_row(exchange),
            )
            for exchange in self.generated.exchanges
        ]
        execution = StageExecution(
            [states[number] for number in sorted(states)],
            sinks,
            exchanges,
            Watermarks(placement.senders, placement.peers, endless=placement.endless),
            clock,
            chance,
            placement.dead_letter_topic,
        )
        for query in self._queries():
            execution.query(query.name)
        return execution

    def _state(
        self, operator: ph.AggregateOp, codec: Any, store: Store | None, live: int, clock: Clock
    ) -> AggregationState:
        """The state of an aggregation, of which the store holds `live` entries."""
        number, window = operator.number, operator.window
        if operator.form is ph.Form.PARTIAL:
            if window is None:
                return GroupedState(codec, None, number, 0)
            if isinstance(window, Session):
                return PartialSessions(codec, window.gap_ms, self._unite[number])
            return PartialWindows(codec)
        assert store is not None
        held: HeldRows | None = None
        if operator.emission is ph.Emission.INTERVAL and operator.every_ms is not None:
            by_window = window is not None and not isinstance(window, Session)
            decode_key = codec.decode_window_key if by_window else codec.decode_key
            prefix = timers_prefix(number) + b"h"
            held = HeldRows(codec.encode_key, decode_key, store, prefix, operator.every_ms, clock)
        if isinstance(window, Session):
            return SessionState(codec, store, number, live, window.gap_ms, self._unite[number], held)
        if window is not None:
            can_reread = operator.form is ph.Form.MERGE and operator.emission is ph.Emission.FINAL
            windows = most_windows(window) if isinstance(window, Several) else 1
            return WindowedState(codec, store, number, live, held, reread=windows if can_reread else 0)
        if operator.ttl_ms is not None:
            return ExpiringState(codec, store, number, live, operator.ttl_ms)
        return GroupedState(codec, store, number, live, held)

    def decoder(self) -> SourceDecoder | None:
        """A decoder for one task; None where the input is a repartition topic."""
        if not isinstance(self.stage.input, ph.SourceInput):
            return None
        source = self.stage.input.source
        given = (
            self.generated.columns,
            [function.columns for function in self.generated.inputs],
            source.event_time.column,
            source.event_time.format,
            source.key_format,
        )
        if source.value_format.is_single:
            return SingleValueDecoder(*given, source.value_format.name)
        if source.value_format.name is FormatName.CSV:
            return DelimitedDecoder(*given, source.value_fields, source.value_format.delimiter)
        return SourceDecoder(*given)

    def process_source(self, batch: RecordBatch, decoder: SourceDecoder, newest: int, execution: StageExecution) -> int:
        """Take a batch of a source partition; returns the largest event time read from it so far.

        `newest` is that time before the batch.
        """
        decoded = decoder.decode(batch)
        for position, error in decoded.lost:
            for operator_query in self._consumer_queries():
                execution.reject(batch, position, operator_query, error)
        if self.by_wall_time:
            newest = max(newest, execution.clock.now_ms)
            decoded.times = decoded.ordered = [newest] * len(decoded.times)
        running = newest_before(decoded.times, decoded.ordered, newest) if self._needs_newest else ()
        newest = max(newest, decoded.ordered[-1]) if decoded.ordered else newest
        for index, function in enumerate(self._inputs):
            rows = self._rows_for(index, batch, decoded, running, execution)
            function(rows, execution)
        return newest

    def _rows_for(
        self, index: int, batch: RecordBatch, decoded: Decoded, running: Sequence[int], execution: StageExecution
    ) -> Rows:
        needs = self.generated.inputs[index].needs
        bad = decoded.bad.get(index)
        if bad is None:
            return Rows(execution, batch, decoded.rows, decoded.positions, decoded.times, running, needs)
        good = [row for row in range(len(decoded.rows)) if row not in bad]
        positions = decoded.positions
        query = self._consumer_queries()[index]
        for row, error in bad.items():
            execution.reject(batch, row if positions is None else positions[row], query, error)
        return Rows(
            execution,
            batch,
            [decoded.rows[row] for row in good],
            [row if positions is None else positions[row] for row in good],
            [decoded.times[row] for row in good],
            [running[row] for row in good] if running else (),
            needs,
        )

    def process_exchange(self, batch: RecordBatch, execution: StageExecution, again_until: int) -> None:
        """Take blocks of a repartition topic: rows, then the watermark of their sender.

        Those before the offset `again_until` are read again, after a restart.
        """
        assert self._decode_rows is not None
        reread = execution.reread
        for value, offset in zip(batch.values, batch.offsets, strict=True):
            assert value is not None, "a repartition topic holds no tombstones"
            block = _decode_block(value)
            rows = self._decode_rows(block.rows)
            again = offset < again_until
            if reread is not None:
                reread.read(offset, len(rows), again=again)
            for function in self._inputs:
                function(rows, execution)
            if not again:
                execution.watermarks.update(block.sender, block.watermark, idle=block.idle)

    def observe(self, execution: StageExecution, partition: int, newest: int) -> None:
        """A source partition has been read up to an event time (END: to its end)."""
        assert isinstance(self.stage.input, ph.SourceInput)
        delay = self.stage.input.source.event_time.delay_ms
        execution.watermarks.update(partition, newest if newest == END else earlier(newest, delay), idle=False)

    def advance(self, execution: StageExecution) -> None:
        """Act on the watermark as it stands: close windows, pass it on."""
        watermark = execution.watermarks.current()
        self._advance(execution, watermark)
        execution.finished = watermark == END

    def elapse(self, execution: StageExecution) -> None:
        """Wall time goes on (`execution.clock`): rows that were held back until now go to the outputs."""
        if self._elapse is not None:
            self._elapse(execution, execution.clock.now_ms)

    def flush(self, execution: StageExecution) -> None:
        """Before a commit: newest changes and partial aggregates go to the outputs."""
        self._flush(execution)

    def _queries(self) -> tuple[Query, ...]:
        return tuple(op.query for op in ph.walk(self.stage.consumers) if isinstance(op, _WITH_QUERY))

    def _consumer_queries(self) -> list[QueryErrors]:
        """For each consumer of the source, the query that a bad record counts for."""
        found: list[QueryErrors] = []
        for consumer in self.stage.consumers:
            query = next(op.query for op in ph.walk((consumer,)) if isinstance(op, _WITH_QUERY))
            found.append(QueryErrors(query.name, query.on_error, query.late))
        return found

    def _storable_row(self, exchange: ph.Exchange) -> Any:
        """How a partial aggregate with sums beyond 64 bits is made to fit; None for plain rows."""
        if not exchange.partials:
            return None
        for (operator, _), codec in zip(self.generated.accumulators, self._codecs, strict=True):
            sends = [op for op in operator.consumers if isinstance(op, ph.PartialsToExchange)]
            if any(op.exchange == exchange for op in sends):
                return lambda row, codec=codec: (*row[:-1], codec.storable(row[-1]))
        return None

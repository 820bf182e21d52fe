"""Records on which a task broke: they are tried again one by one, and named when they break it for the third time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from headrace.agents.errors import BatchFailed, TaskStopped
from headrace.sql.runtime.records import MemoryBatch, RecordBatch, TopicPartition

log = structlog.get_logger(__name__)

ATTEMPTS_MAX = 3


@dataclass(slots=True)
class _Span:
    """Offsets among which the record is, and how often the task broke on it."""

    begin: int
    end: int
    failures: int


class Suspects:
    """Per input partition, the records that a task could not process. What breaks is the code, not the record: bad
    records are dead letters. It may also be the moment (memory, a disk), so each gets three attempts.
    """

    def __init__(self) -> None:
        self._spans: dict[TopicPartition, _Span] = {}

    def parts(self, batch: RecordBatch) -> Iterator[RecordBatch]:
        """The batch as it is to be processed: whole, or record by record where one of them is suspected."""
        partition = TopicPartition(batch.topic, batch.partition)
        span = self._spans.get(partition)
        if span is not None and batch.fetch_offset >= span.end:
            del self._spans[partition]
            span = None
        if span is None or batch.next_offset <= span.begin:
            yield batch
        else:
            yield from _singles(batch)

    def blame(self, batch: RecordBatch, error: Exception) -> BatchFailed | TaskStopped:
        """A task broke on this batch: what is to be raised instead of the error."""
        last = batch.next_offset - 1
        span = f"offset {last}" if batch.fetch_offset == last else f"offsets {batch.fetch_offset} to {last}"
        reason = f"{batch.topic} partition {batch.partition} {span}: {type(error).__name__}: {error}"
        log.error("records could not be processed", reason=reason, exc_info=error)
        if self._failed(batch) < ATTEMPTS_MAX:
            return BatchFailed(reason)
        return TaskStopped(f"{ATTEMPTS_MAX} attempts to process {reason}")

    def _failed(self, batch: RecordBatch) -> int:
        """How often a task has broken on records of the batch by now."""
        partition = TopicPartition(batch.topic, batch.partition)
        span = self._spans.get(partition)
        failures = 0 if span is None else span.failures
        self._spans[partition] = _Span(batch.fetch_offset, batch.next_offset, failures + 1)
        return failures + 1


def _singles(batch: RecordBatch) -> Iterator[RecordBatch]:
    begin = batch.fetch_offset
    columns = zip(batch.offsets, batch.values, batch.keys, batch.timestamps, batch.headers, strict=True)
    for offset, value, key, timestamp, headers in columns:
        yield MemoryBatch(
            batch.topic, batch.partition, begin, offset + 1, [value], [key], [timestamp], [offset], [headers]
        )
        begin = offset + 1
    if begin < batch.next_offset:
        yield MemoryBatch(batch.topic, batch.partition, begin, batch.next_offset, [], [], [], [], [])

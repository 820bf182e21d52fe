"""Batches of records as a task gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from headrace.agents.records import ParsedBatch
from headrace.sql.runtime.records import Headers


@dataclass(frozen=True, slots=True)
class Record:
    offset: int
    headers: Headers
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = b"{}"


def batch_of(headers: Sequence[Headers], topic: str = "trades", partition: int = 3) -> ParsedBatch:
    """A batch of records with these headers."""
    records = [Record(offset, each) for offset, each in enumerate(headers)]
    return ParsedBatch(topic, partition, 0, len(records), records)


def stored(*batches: tuple[int, int]) -> MemoryRecords:
    """Bytes of record batches, each given as base offset and number of records, lz4-compressed."""
    return MemoryRecords(b"".join(_stored_batch(base, count) for base, count in batches))


def _stored_batch(base_offset: int, count: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 3, False, -1, -1, -1, 1 << 20)
    for index in range(count):
        offset = base_offset + index
        headers = [("h", b"%d" % offset)]
        builder.append(index, 1_000 + offset, b"k%d" % offset, b"v%d" % offset, headers)
    data = bytearray(builder.build())
    data[0:8] = base_offset.to_bytes(8, "big")
    return bytes(data)

"""Batches of records as a task gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

"""What crosses the edge of the pure core: record batches in, outputs and commits out, state behind a protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes | None]]
Change = tuple[bytes, bytes | None]
"""One write to a state store: key and new value, None deletes."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class RecordBatch(Protocol):
    """The records of one partition handled together, in offset order.

    All sequences have one entry per record; a lazy implementation may decode each on first use.
    """

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def fetch_offset(self) -> int:
        """The position this batch answers for: its first offset, or an earlier one (compaction, control records)."""

    @property
    def next_offset(self) -> int:
        """The position after this batch."""

    @property
    def values(self) -> Sequence[bytes | None]: ...
    @property
    def keys(self) -> Sequence[bytes | None]: ...
    @property
    def timestamps(self) -> Sequence[int]:
        """Milliseconds since the epoch."""

    @property
    def offsets(self) -> Sequence[int]: ...
    @property
    def headers(self) -> Sequence[Headers]: ...


@dataclass(slots=True)
class MemoryBatch:
    """A record batch held in plain lists (local runs and tests)."""

    topic: str
    partition: int
    fetch_offset: int
    next_offset: int
    values: list[bytes | None]
    keys: list[bytes | None]
    timestamps: list[int]
    offsets: list[int]
    headers: list[Headers]


@dataclass(slots=True)
class Output:
    """Records to produce to one topic, as parallel lists.

    `partition` None means: by Kafka's default partitioner (murmur2 of the key, spread evenly without one).
    `headers` None means: no record has any.
    """

    topic: str
    partition: int | None
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    headers: list[Headers] | None = None

    def __len__(self) -> int:
        return len(self.values)


class Position(NamedTuple):
    """Where a task stands in one input partition, as committed to Kafka's group offsets."""

    next_offset: int
    metadata: str
    """Short JSON text (the watermark of a source partition), stored with the group offset."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Everything a task did since its last cut, made durable by one commit."""

    outputs: Sequence[Output]
    changelog: Sequence[Change]
    """State changes of a stateful task; the last one is its checkpoint record. Empty for a stateless task."""
    positions: Mapping[TopicPartition, Position]
    needed: Mapping[TopicPartition, int] = field(default_factory=dict)
    """Offsets from which inputs must stay readable, where that is before their positions."""
    watermark: Change | None = None
    """What the other tasks of the stage are told of the source partition, where it has changed."""


class Store(Protocol):
    """The committed state of one task: ordered byte keys and values, written by one batch per commit."""

    @property
    def position(self) -> int | None:
        """Changelog offset up to which the store holds everything; None when nothing was ever written."""

    def get(self, key: bytes) -> bytes | None: ...
    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Entries with low <= key < high, in byte order of the key."""

    def apply(self, changes: Iterable[Change], position: int) -> None:
        """Write all changes and the changelog position, as one atomic batch."""

    def close(self) -> None: ...

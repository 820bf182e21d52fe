"""What a task leaves in Kafka of where it stands: its checkpoint, metadata of group offsets, what it tells others."""

from __future__ import annotations

import msgspec

from headrace.agents.topology import TaskId
from headrace.sql.runtime.records import Change, Position
from headrace.sql.runtime.watermarks import START

CHECKPOINT_KEY = b"\xffcheckpoint"
"""The reserved key of a changelog: where the task stood when the changes before it were made."""
FORMAT = 2


class Checkpoint(msgspec.Struct, frozen=True):
    """The truth of a stateful task, written with each commit's changes as the last of them."""

    format: int
    plan: str
    """Plan version of the stage; other state must not be read with it."""
    offsets: list[tuple[str, int, int]]
    """(topic, partition, next offset) of each input read so far."""
    newest: list[tuple[int, int]]
    """(source partition, largest event time read)."""
    watermarks: list[tuple[int, int, bool]]
    """(sender, watermark, idle)."""
    live: dict[int, int]
    """Number of groups stored, by aggregation."""
    exact: bool
    """Whether the group's offsets were committed in the same transaction, so that they are the same."""
    watermark: int = START
    """The task's own: senders that were idle may have let it go further than theirs."""
    again: list[tuple[str, int, int]] = []
    """(topic, partition, offset) from which rows of open windows are to be read again."""


class CommittedPosition(msgspec.Struct, omit_defaults=True, frozen=True):
    """Metadata of a committed group offset."""

    plan: str | None = None
    """Plan version of the stage that read up to there."""
    newest: int | None = None
    """Largest event time read."""
    ended: bool = False
    idle: bool = False
    source_partitions: int | None = None
    """How many partitions the source had when the app began to read this one."""


class Progress(msgspec.Struct, frozen=True):
    """How far event time has come in a source partition, as its reader tells the other tasks of the stage."""

    watermark: int
    idle: bool


def read_metadata(position: Position) -> CommittedPosition:
    """What a task stored with a group offset."""
    return msgspec.json.decode(position.metadata or "{}", type=CommittedPosition)


def encode_progress(id_: TaskId, progress: Progress) -> Change:
    """Key and value of what a task tells."""
    return msgspec.json.encode([id_.stage, id_.partition]), msgspec.json.encode(progress)


def decode_progress(key: bytes, value: bytes) -> tuple[TaskId, Progress]:
    """The task that tells, and what."""
    return TaskId(*msgspec.json.decode(key, type=tuple[str, int])), msgspec.json.decode(value, type=Progress)

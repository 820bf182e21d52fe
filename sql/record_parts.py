"""What a record has beside its value, as columns: pseudo-columns, METADATA and HEADER columns of a declaration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from headrace.sql.types import (
    BIGINT,
    BYTES,
    INT,
    TIMESTAMP,
    TIMESTAMP_LTZ,
    VARCHAR,
    Type,
    array_type,
    map_type,
    struct_type,
)


class Part(StrEnum):
    """A part of a record."""

    KEY = "key"
    TIMESTAMP = "timestamp"
    TIME = "event time"
    PARTITION = "partition"
    OFFSET = "offset"
    TOPIC = "topic"
    HEADERS = "headers"
    HEADER = "header"


@dataclass(frozen=True, slots=True)
class RecordPart:
    """A part of a record; of its headers perhaps only the last one of a name."""

    part: Part
    header: str | None = None


@dataclass(frozen=True, slots=True)
class PseudoColumn:
    """A column that every source has, though no `*` shows it."""

    name: str
    type: Type
    nullable: bool
    part: Part


LISTED_HEADERS = array_type(struct_type(("key", VARCHAR), ("value", BYTES)))
"""The type in which ksqlDB declares all headers."""
HEADERS_COLUMN = "_headers"
TIMESTAMP_COLUMN = "_timestamp"
PSEUDO_COLUMNS = (
    PseudoColumn("_key", VARCHAR, True, Part.KEY),
    PseudoColumn(TIMESTAMP_COLUMN, TIMESTAMP, False, Part.TIMESTAMP),
    PseudoColumn("_partition", INT, False, Part.PARTITION),
    PseudoColumn("_offset", BIGINT, False, Part.OFFSET),
    PseudoColumn("_topic", VARCHAR, False, Part.TOPIC),
    PseudoColumn(HEADERS_COLUMN, map_type(BYTES), False, Part.HEADERS),
    PseudoColumn("ROWTIME", TIMESTAMP, False, Part.TIME),
    PseudoColumn("ROWPARTITION", INT, False, Part.PARTITION),
    PseudoColumn("ROWOFFSET", BIGINT, False, Part.OFFSET),
)
METADATA = {
    "timestamp": ((TIMESTAMP, TIMESTAMP_LTZ), Part.TIMESTAMP),
    "partition": ((INT, BIGINT), Part.PARTITION),
    "offset": ((BIGINT,), Part.OFFSET),
    "topic": ((VARCHAR,), Part.TOPIC),
    "headers": ((map_type(BYTES),), Part.HEADERS),
}
"""Flink's metadata keys: the types that each can have, and what it is."""

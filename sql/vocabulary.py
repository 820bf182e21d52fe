"""Words of SQL that mean the same in the text of a query, in its plan and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RelationKind(StrEnum):
    STREAM = "STREAM"
    TABLE = "TABLE"


class Emit(StrEnum):
    CHANGES = "changes"
    FINAL = "final"


class OnError(StrEnum):
    DEAD_LETTER = "dead_letter"
    SKIP = "skip"
    FAIL = "fail"


class Late(StrEnum):
    DEAD_LETTER = "dead_letter"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Direction:
    """The direction of one key of an order."""

    descending: bool
    nulls_first: bool


class FrameUnit(StrEnum):
    ROWS = "ROWS"
    RANGE = "RANGE"


class Match(StrEnum):
    """Operators that match a text with a pattern."""

    LIKE = "LIKE"
    ILIKE = "ILIKE"
    SIMILAR = "SIMILAR TO"
    REGULAR = "~"
    REGULAR_ANY_CASE = "~*"

"""The first rows of each partition in an order: how they are compared, and how one is put among the others."""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import Any

_COMPLEMENTS = bytes(255 - byte for byte in range(256))
_TEXT_COMPLEMENTS = bytes(max(0, 254 - byte) for byte in range(256))
_rank_of = attrgetter("rank")


def backwards(value: Any) -> Any:
    """A value that sorts before others where the given one sorts behind them: of a number, a text, or bytes."""
    if isinstance(value, str):  # 255 is no byte of UTF-8, nor of what it is made here: it stands behind all others
        return value.encode().translate(_TEXT_COMPLEMENTS) + b"\xff"
    if isinstance(value, bytes):  # a 0 before each byte, and a 1 at the end
        marked = bytearray(2 * len(value))
        marked[1::2] = value.translate(_COMPLEMENTS)
        return bytes(marked) + b"\x01"
    if isinstance(value, bool):
        return not value
    return value.copy_negate() if hasattr(value, "copy_negate") else -value  # -value would round a Decimal


def enter(rows: list[Any], row: Any, limit: int) -> int:
    """Put a row among the first, which are at most `limit`; returns its place, or how many there are if it has none.

    A row whose rank is there already is that row, come again after a crash.
    """
    place = bisect_left(rows, row.rank, key=_rank_of)
    if place >= limit or (place < len(rows) and rows[place].rank == row.rank):
        return len(rows)
    rows.insert(place, row)
    del rows[limit:]
    return place

"""What a run put into its sink, folded as it is read: how many rows, the last of each key, a digest of the result."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

DIGEST_BYTES = 16


class Results:
    """The records of a sink. Those of one key must be added in their order; the keys may come in any."""

    def __init__(self, *, by_key: bool) -> None:
        """`by_key`: the result is the last value of each key, else all records."""
        self._by_key = by_key
        self._sum = 0
        self.rows = 0
        self.last: dict[bytes, bytes | None] = {}
        """By key, where the result is that."""

    def add(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> None:
        self.rows += len(values)
        if self._by_key:
            self.last.update(zip((key or b"" for key in keys), values, strict=True))
        else:
            self._sum += sum(map(_hash, keys, values))

    @property
    def digest(self) -> str:
        """Equal where the results are, in whatever order they came."""
        total = sum(_hash(key, value) for key, value in self.last.items()) if self._by_key else self._sum
        return f"{total % 2 ** (8 * DIGEST_BYTES):0{2 * DIGEST_BYTES}x}"


def _hash(key: bytes | None, value: bytes | None) -> int:
    framed = b"%d,%d," % (-1 if key is None else len(key), -1 if value is None else len(value))
    return int.from_bytes(blake2b(framed + (key or b"") + (value or b""), digest_size=DIGEST_BYTES).digest(), "big")

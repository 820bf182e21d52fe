"""Sketches of Apache DataSketches as states of groups: the number of different values, and percentiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from headrace.sql.runtime.codec import encode_key
from headrace.sql.runtime.opaque import Opaque
from headrace.sql.runtime.values import finite

if TYPE_CHECKING:
    import datasketches

_LOG_ENTRIES = 12  # 4,096 hashes: exact up to as many values, then a standard error of 1.6 %
_CENTROIDS = 200


class DifferentValues(Opaque):
    """A theta sketch: the smallest hashes of the values. It depends on which values there are, and on nothing else."""

    __slots__ = ("_fresh", "_known")

    def __init__(self) -> None:
        self._fresh: datasketches.update_theta_sketch | None = None
        self._known: datasketches.compact_theta_sketch | None = None

    def __sizeof__(self) -> int:
        return 100 + sum(24 * int(part.num_retained) for part in (self._fresh, self._known) if part is not None)

    def add(self, value: Any) -> None:
        if self._fresh is None:
            import datasketches  # it loads numpy, which an app without sketches can do without

            self._fresh = datasketches.update_theta_sketch(_LOG_ENTRIES)
        is_plain = type(value) in (int, float, str) and value != ""  # an empty text is no value to the sketch
        self._fresh.update(value if is_plain else f"\0{encode_key(value).hex()}")

    def merge(self, other: DifferentValues) -> None:
        self._known = _united(self, other)
        self._fresh = None

    def value(self) -> int:
        self._known, self._fresh = _united(self), None
        return 0 if self._known is None else round(self._known.get_estimate())

    def stored(self) -> bytes:
        self._known, self._fresh = _united(self), None
        return b"" if self._known is None else self._known.serialize()

    @classmethod
    def restored(cls, stored: bytes) -> Self:
        sketch = cls()
        if stored:
            import datasketches

            sketch._known = datasketches.compact_theta_sketch.deserialize(stored)
        return sketch


def _united(*sketches: DifferentValues) -> datasketches.compact_theta_sketch | None:
    parts = [part for sketch in sketches for part in (sketch._known, sketch._fresh) if part is not None]
    if not parts:
        return None
    if len(parts) == 1 and parts[0] is sketches[0]._known:
        return sketches[0]._known
    import datasketches

    union = datasketches.theta_union(_LOG_ENTRIES)
    for part in parts:
        union.update(part)
    return union.get_result()


class Percentiles(Opaque):
    """A t-digest: finest towards both ends. It depends somewhat on the order of values and on how they were merged."""

    __slots__ = ("_digest",)

    def __init__(self) -> None:
        self._digest: datasketches.tdigest_double | None = None

    def __sizeof__(self) -> int:
        return 100 if self._digest is None else 100 + int(self._digest.get_serialized_size_bytes())

    def add(self, value: float) -> None:
        if self._digest is None:
            import datasketches

            self._digest = datasketches.tdigest_double(_CENTROIDS)
        self._digest.update(value)

    def merge(self, other: Percentiles) -> None:
        if self._digest is None:
            self._digest = other._digest and _copied(other._digest)
        elif other._digest is not None:
            self._digest.merge(other._digest)

    def value(self, fraction: float) -> float | None:
        return None if self._digest is None else finite(self._digest.get_quantile(fraction))

    def stored(self) -> bytes:
        return b"" if self._digest is None else self._digest.serialize()

    @classmethod
    def restored(cls, stored: bytes) -> Self:
        sketch = cls()
        if stored:
            sketch._digest = _digest_of(stored)
        return sketch


def _digest_of(stored: bytes) -> datasketches.tdigest_double:
    import datasketches

    return datasketches.tdigest_double.deserialize(stored)


def _copied(digest: datasketches.tdigest_double) -> datasketches.tdigest_double:
    return _digest_of(digest.serialize())

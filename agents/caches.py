"""The bounded state cache of a worker: which of its tasks' cached groups are forgotten when there are too many."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol


class Cache(Protocol):
    """The cached groups of an aggregation."""

    @property
    def clean_bytes(self) -> int:
        """Memory of the groups that may be forgotten."""

    def evict(self, size: int) -> None:
        """Forget groups of so many bytes."""


class Cached(Protocol):
    """A task."""

    @property
    def caches(self) -> Iterable[Cache]: ...


def trim_caches(tasks: Collection[Cached], bytes_max: int) -> None:
    """Bring the clean cached state of all tasks together down to `bytes_max`.

    To be called when a commit of these tasks has ended, stores included, and before the next cut: what was cut and is
    not in the store yet must not be forgotten. Costs next to nothing while the caches are smaller.
    """
    caches = [cache for task in tasks for cache in task.caches]
    sizes = [cache.clean_bytes for cache in caches]
    if sum(sizes) <= bytes_max:
        return
    for cache, size, share in zip(caches, sizes, shares(sizes, bytes_max), strict=True):
        if share < size:
            cache.evict(size - share)


def shares(sizes: Sequence[int], total_max: int) -> list[int]:
    """What is left of each size so that the sum is at most `total_max`: the largest are cut, all to one size."""
    left = list(sizes)
    by_size = sorted(range(len(sizes)), key=sizes.__getitem__)
    for done, index in enumerate(by_size):
        left[index] = min(sizes[index], total_max // (len(sizes) - done))
        total_max -= left[index]
    return left

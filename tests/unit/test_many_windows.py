"""A million open windows: what a commit costs depends on the windows that it wrote, not on those that are open.

open windows   0 1 2 3 ... 999      cut one by one
cut last       . . . .      x       first to be forgotten is 0
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import msgspec
import pytest

from headrace.agents.caches import trim_caches
from headrace.agents.tables import MemoryStore
from headrace.sql.runtime.codec import AccumulatorCodec
from headrace.sql.runtime.windowed import WindowedState


class Count(msgspec.Struct, array_like=True):
    count: int = 0


CODEC = AccumulatorCodec(Count, str, ())
KEYS = ("x", "y")


class Worker:
    """One task with one windowed aggregation, and its store."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.windows = WindowedState(CODEC, self.store, 0, 0)

    @property
    def caches(self) -> tuple[WindowedState, ...]:
        return tuple(self.windows.caches)  # type: ignore[arg-type]

    def add(self, end: int, *keys: str) -> None:
        groups = self.windows.open(end)
        for key in keys:
            state = groups.cache.get(key) or groups.load(key)
            state.count += 1
            groups.dirty[key] = state

    def commit(self) -> None:
        self.store.apply(list(self.windows.cut()), 0)

    def trim(self, bytes_max: int) -> None:
        trim_caches([self], bytes_max)

    @property
    def clean_bytes(self) -> int:
        return sum(cache.clean_bytes for cache in self.caches)

    def cached(self, end: int) -> set[str]:
        return set(self.windows.panes[end].cache)


@pytest.fixture
def worker() -> Worker:
    return Worker()


def calls_of(do: Callable[[], object]) -> int:
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("bytes_max", [10**9, 0], ids=["fits", "does not fit"])
def test_trimming_costs_the_same_however_many_windows_are_open(worker: Worker, bytes_max: int) -> None:
    costs = []
    for first, last in ((0, 10), (10, 2_000)):
        for end in range(first, last):
            worker.add(end, *KEYS)
        worker.commit()
        worker.trim(bytes_max)
        worker.add(last, *KEYS)
        worker.commit()
        costs.append(calls_of(lambda: worker.trim(bytes_max)))
    assert costs[1] == costs[0]


def test_the_window_whose_last_change_is_the_longest_ago_is_forgotten_first(worker: Worker) -> None:
    for end in (1, 2, 3, 1):  # window 1 changes again
        worker.add(end, *KEYS)
        worker.commit()
    worker.trim(worker.clean_bytes - 1)
    assert [len(worker.cached(end)) for end in (1, 2, 3)] == [2, 1, 2]
    worker.trim(worker.clean_bytes // 2)
    assert [len(worker.cached(end)) for end in (1, 2, 3)] == [2, 0, 0]


def test_what_has_changed_since_the_commit_is_not_forgotten(worker: Worker) -> None:
    worker.add(1, *KEYS)
    worker.commit()
    worker.add(1, "x")
    worker.trim(0)
    assert worker.cached(1) == {"x"}
    worker.commit()
    worker.trim(0)
    assert worker.cached(1) == set()
    counts = {key: state.count for _, groups in worker.windows.close(1) for key, state in groups.load_all()}
    assert counts == {"x": 2, "y": 1}


def test_a_closed_window_takes_no_room(worker: Worker) -> None:
    worker.add(1, *KEYS)
    worker.add(2, *KEYS)
    worker.commit()
    both = worker.clean_bytes
    assert [end for end, _ in worker.windows.close(1)] == [1]
    assert worker.clean_bytes == both // 2 > 0
    assert [end for end, _ in worker.windows.close(2)] == [2]
    assert worker.clean_bytes == 0

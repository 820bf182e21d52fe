"""Open windows whose rows can be read again are not stored, unless there would be too much to read.

    blocks     0    1    2    3    4    5 ...
    window A   |----------------------------    open since block 0
    window B             |------------------    open since block 2

Needed after a restart is what comes from block 0 on; once A is stored, from block 2 on.
"""

from __future__ import annotations

import msgspec
import pytest

from headrace.agents.tables import MemoryStore
from headrace.sql.runtime import windowed
from headrace.sql.runtime.codec import AccumulatorCodec
from headrace.sql.runtime.windowed import WindowedState

A, B = 1_000, 2_000


class Count(msgspec.Struct, array_like=True):
    count: int = 0


CODEC = AccumulatorCodec(Count, str, ())


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windowed, "REREAD_MAX", 10)


@pytest.fixture
def windows() -> WindowedState:
    return WindowedState(CODEC, MemoryStore(), 0, 0, reread=1)


def block(windows: WindowedState, offset: int, end: int, *keys: str, again: bool = False) -> None:
    windows.read(offset, len(keys), again=again)
    for key in keys:
        groups = windows.open(end)
        found = groups.cache.get(key) or groups.load(key)
        found.count += 1
        groups.dirty[key] = found


def test_young_window_is_not_stored_and_its_rows_are_needed(windows: WindowedState) -> None:
    block(windows, 3, A, "x", "y")
    block(windows, 4, B, "x")
    assert list(windows.cut()) == []
    assert (windows.needed, windows.pending, windows.live) == (3, 0, 0)


def test_closed_window_needs_nothing_more(windows: WindowedState) -> None:
    block(windows, 3, A, "x")
    block(windows, 4, B, "x")
    assert [end for end, _ in windows.close(A)] == [A]
    assert (list(windows.cut()), windows.needed) == ([], 4)
    assert [end for end, _ in windows.close(B)] == [B]
    assert (list(windows.cut()), windows.needed) == ([], None)


def test_window_that_is_open_for_long_is_stored_as_a_whole_then_as_it_changes(windows: WindowedState) -> None:
    block(windows, 0, A, "x", "y")
    assert list(windows.cut()) == []
    block(windows, 1, B, *"abcdefg")  # in which A does not change
    assert len(list(windows.cut())) == 2
    assert (windows.needed, windows.live) == (1, 2)
    block(windows, 2, A, "z")
    assert len(list(windows.cut())) == 1
    assert windows.live == 3
    assert [end for end, _ in windows.close(A)] == [A]
    deleted = list(windows.cut())
    assert [value for _, value in deleted] == [None] * 3


def test_row_in_several_windows_is_work_for_each() -> None:
    windows = WindowedState(CODEC, MemoryStore(), 0, 0, reread=6)
    block(windows, 0, A, "x")
    assert list(windows.cut()) == []
    block(windows, 1, B, "x")
    assert len(list(windows.cut())) == 1
    assert windows.needed == 1


def test_rows_read_again_count_in_windows_that_are_not_stored_only() -> None:
    store = MemoryStore()
    first = WindowedState(CODEC, store, 0, 0, reread=1)
    block(first, 0, A, "x", "y")
    block(first, 1, B, *"abcdefgh")
    store.apply(first.cut(), 0)
    again = WindowedState(CODEC, store, 0, first.live, reread=1)
    assert first.needed == 1
    block(again, 1, B, *"abcdefgh", again=True)
    block(again, 2, A, "x", again=True)  # is in the store
    assert again.needed == 1
    counts = {end: {key: acc.count for key, acc in groups.load_all()} for end, groups in again.close(B)}
    assert counts == {A: {"x": 1, "y": 1}, B: dict.fromkeys("abcdefgh", 1)}

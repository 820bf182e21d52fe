"""State of rows in an order: rows that wait, logs of the last rows, the first rows of a partition."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from headrace.agents.tables import MemoryStore
from headrace.sql.runtime.logs import CHUNK, Log, Logs
from headrace.sql.runtime.tops import backwards, enter
from headrace.sql.runtime.waiting import WaitingRows


class Row(msgspec.Struct, array_like=True):
    name: str


class Entry(msgspec.Struct):
    rank: tuple[int, int]


def waiting(store: MemoryStore, live: int = 0) -> WaitingRows:
    return WaitingRows(Row, store, 7, live)


def come(state: WaitingRows, *rows: tuple[int, str]) -> None:
    """Rows of one source partition; their names are their offsets in the alphabet."""
    state.fresh.extend((time, 0, ord(name), Row(name)) for time, name in rows)


def taken(state: WaitingRows, until: int) -> str:
    """Names of the rows before an event time."""
    return "".join(row.name for *_, row in state.take(until))


def commit(state: WaitingRows | Logs, store: MemoryStore) -> int:
    """Number of changes."""
    changes = list(state.cut())
    store.apply(changes, 0)
    return len(changes)


def stored(store: MemoryStore) -> int:
    return len(list(store.scan(b"", b"\xff")))


# Rows that wait


def test_waiting_rows_come_out_in_the_order_of_event_time() -> None:
    # came   a         b    c
    # time   |----c----a----b----|
    #             1    2    3         until 3: b waits
    state = waiting(MemoryStore())
    come(state, (2, "a"), (3, "b"), (1, "c"))
    assert taken(state, 3) == "ca"
    assert taken(state, 4) == "b"


def test_waiting_rows_of_one_time_come_by_partition_and_offset() -> None:
    # partition 0  |----b-c----|
    # partition 1  |----a------|
    state = waiting(MemoryStore())
    state.fresh.extend([(5, 1, 0, Row("a")), (5, 0, 9, Row("c")), (5, 0, 8, Row("b"))])
    assert taken(state, 6) == "bca"


def test_waiting_rows_of_one_time_are_taken_together() -> None:
    state = waiting(MemoryStore())
    come(state, (2, "b"), (1, "a"), (2, "c"), (9, "d"))
    assert ["".join(row.name for *_, row in rows) for rows in state.take_times(9)] == ["a", "bc"]


def test_waiting_row_that_comes_and_goes_between_commits_is_never_stored() -> None:
    # commit        |                    |
    # a             |   comes … taken    |
    # b             |   comes …          | …          stored by the second commit
    store = MemoryStore()
    state = waiting(store)
    come(state, (1, "a"), (5, "b"))
    assert taken(state, 3) == "a"
    assert commit(state, store) == 1
    assert (stored(store), state.live) == (1, 1)


def test_waiting_row_is_deleted_by_the_commit_after_it_was_taken() -> None:
    store = MemoryStore()
    state = waiting(store)
    come(state, (5, "b"))
    commit(state, store)
    assert taken(state, 6) == "b"
    assert (state.live, state.pending) == (1, 1)
    commit(state, store)
    assert (stored(store), state.live) == (0, 0)


def test_waiting_rows_are_there_again_after_a_restart() -> None:
    store = MemoryStore()
    state = waiting(store)
    come(state, (5, "b"), (3, "a"), (7, "c"))
    commit(state, store)
    again = waiting(store, live=3)
    come(again, (4, "x"))
    assert taken(again, 6) == "axb"
    commit(again, store)
    assert (stored(store), again.live) == (1, 1)
    assert taken(again, 8) == "c"


def test_waiting_rows_that_were_evicted_are_read_from_the_store() -> None:
    # memory  |--a--b--|            after eviction
    # store   |--a--b--|--c--d--|
    # fresh            |----e---|   comes between the evicted ones
    store = MemoryStore()
    state = waiting(store)
    come(state, (1, "a"), (2, "b"), (6, "c"), (8, "d"))
    commit(state, store)
    state.evict(state.clean_bytes // 2 - 1)
    come(state, (7, "e"))
    assert taken(state, 7) == "abc"
    commit(state, store)
    assert (stored(store), state.live) == (2, 2)
    assert taken(state, 9) == "ed"
    commit(state, store)
    assert (stored(store), state.live) == (0, 0)


def test_waiting_row_that_comes_again_after_a_crash_is_the_same_row() -> None:
    store = MemoryStore()
    state = waiting(store)
    come(state, (5, "b"))
    commit(state, store)
    state.evict(1_000)
    come(state, (5, "b"), (5, "b"))
    commit(state, store)
    assert state.live == 1
    come(state, (5, "b"))
    assert taken(state, 6) == "b"
    commit(state, store)
    assert (stored(store), state.live) == (0, 0)


# Logs


def logs(store: MemoryStore, rows: int, span_ms: int | None = None, live: int = 0) -> Logs:
    return Logs(tuple[int, str | None], rows, span_ms, store, 3, live)


def write(state: Logs, key: str, times: Sequence[int]) -> Log:
    log = state.cache.get(key) or state.load(key)
    log.rows.extend((time, f"at {time}") for time in times)
    state.dirty[key] = log
    return log


def test_log_keeps_its_last_rows() -> None:
    # rows 1   |--1--2--3--4--|      the last two are kept
    #                  [----]
    store = MemoryStore()
    state = logs(store, rows=2)
    log = write(state, "k", [1, 2, 3, 4])
    commit(state, store)
    assert [time for time, _ in log.rows] == [3, 4]


def test_log_keeps_the_rows_of_a_time_before_its_newest() -> None:
    # |--1-----5--6-----10|   5 ms before 10: from 5 on
    #         [-----------]
    state = logs(MemoryStore(), rows=0, span_ms=5)
    log = write(state, "k", [1, 4, 5, 6, 10])
    state.trim(log)
    assert [time for time, _ in log.rows] == [5, 6, 10]


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_log_is_the_same_after_a_restart(count: int) -> None:
    store = MemoryStore()
    state = logs(store, rows=2 * CHUNK)
    log = write(state, "k", range(count))
    write(state, "other", [7])
    commit(state, store)
    again = logs(store, rows=2 * CHUNK, live=state.live)
    assert again.load("k").rows[-2 * CHUNK :] == log.rows
    assert again.load("unknown").rows == []
    assert stored(store) == state.live


def test_log_writes_only_the_chunks_that_changed_and_deletes_those_that_nobody_looks_at() -> None:
    # chunks   |aaaa|bbbb|cc  |          three chunks written
    #               |bbbb|cccc|d   |     the first is gone, two are written again
    store = MemoryStore()
    state = logs(store, rows=2 * CHUNK)
    write(state, "k", range(2 * CHUNK + 2))
    assert commit(state, store) == 3
    write(state, "k", range(2 * CHUNK + 2, 3 * CHUNK + 1))
    assert commit(state, store) == 3
    assert stored(store) == state.live == 3


def test_log_that_was_evicted_is_loaded_again() -> None:
    store = MemoryStore()
    state = logs(store, rows=3)
    write(state, "k", [1, 2, 3])
    commit(state, store)
    state.evict(state.clean_bytes)
    assert not state.cache
    assert [time for time, _ in state.load("k").rows] == [1, 2, 3]


# The first rows


def test_enter_keeps_the_first_rows_in_order() -> None:
    rows: list[Entry] = []
    places = [enter(rows, Entry((rank, 0)), 3) for rank in (5, 3, 9, 4, 7)]
    assert [entry.rank[0] for entry in rows] == [3, 4, 5]
    assert places == [0, 0, 2, 1, 3]


def test_enter_knows_a_row_that_comes_again() -> None:
    rows = [Entry((1, 0)), Entry((2, 0))]
    assert enter(rows, Entry((1, 0)), 3) == 2
    assert len(rows) == 2


@pytest.mark.parametrize(
    "values",
    [
        ["", "a", "aa", "ab", "b", "é", "😀"],
        [b"", b"\x00", b"\x00\xff", b"a", b"\xff"],
        [-5, 0, 7],
        [-1.5, 0.0, 2.5],
        [Decimal("-12345678901234567890123456789.12345678"), Decimal("-1.50"), Decimal("0.00"), Decimal("2")],
        [False, True],
    ],
)
def test_backwards_turns_the_order_round(values: list[Any]) -> None:
    assert sorted(values, key=backwards) == values[::-1]

"""The groups of an aggregation: what a cut writes, what is counted, and what may be forgotten."""

from __future__ import annotations

import json

import msgspec
import pytest

from headrace.agents.tables import MemoryStore
from headrace.sql.runtime.holding import Clock, HeldRows
from headrace.sql.runtime.state import MEASURED, GroupedState, Groups, memory_of, timers_prefix

PREFIX = b"\x07"
HELD_PREFIX = timers_prefix(7) + b"h"


class Count(msgspec.Struct):
    """The accumulators of a group."""

    n: int = 0
    held: int | None = None


class Codec:
    """Keys are their text, states are JSON."""

    def new(self) -> Count:
        return Count()

    def renew(self, state: Count) -> Count:  # noqa: ARG002 (a protocol)
        return Count()

    def encode_key(self, key: str) -> bytes:
        return key.encode()

    def decode_key(self, data: bytes) -> str:
        return data.decode()

    def encode(self, state: Count) -> bytes:
        return json.dumps([state.n, state.held]).encode()

    def decode(self, data: bytes) -> Count:
        return Count(*json.loads(data))


def groups_of(store: MemoryStore | None, *, stored: bool = False) -> Groups:
    return Groups(Codec(), store, PREFIX, stored=stored)


def count(groups: Groups, keys: str) -> None:
    """One row for each letter."""
    for key in keys:
        state = groups.cache.get(key)
        if state is None:
            state = groups.load(key)
        state.n += 1
        groups.dirty[key] = state


def commit(state: Groups | GroupedState, store: MemoryStore) -> int:
    """Number of changes."""
    changes = list(state.cut())
    store.apply(changes, 0)
    return len(changes)


def held_rows(store: MemoryStore) -> HeldRows:
    return HeldRows(str.encode, bytes.decode, store, HELD_PREFIX, 1_000, Clock())


def test_changed_and_deleted_groups_are_pending_until_a_cut_writes_them() -> None:
    store = MemoryStore()
    groups = groups_of(store)
    count(groups, "abc")
    assert groups.pending == 3
    assert commit(groups, store) == 3
    assert groups.pending == 0
    count(groups, "a")
    groups.delete("b")
    groups.delete("c")
    assert groups.pending == 3
    assert commit(groups, store) == 3
    assert [key for key, _ in store.scan(b"", b"\xff")] == [PREFIX + b"a"]


def test_every_partial_aggregate_is_pending() -> None:
    groups = groups_of(None)
    count(groups, "aab")
    assert groups.pending == 2
    assert [(key, state.n) for key, state in groups.drain()] == [("a", 2), ("b", 1)]
    assert groups.pending == 0


def test_live_groups_are_those_that_the_store_has() -> None:
    store = MemoryStore()
    groups = groups_of(store)
    count(groups, "abc")
    groups.delete("c")  # which no cut has written
    commit(groups, store)
    assert groups.live == 2
    count(groups, "ad")
    groups.delete("b")
    commit(groups, store)
    assert groups.live == 2


def test_held_rows_live_beside_the_groups_and_are_found_again() -> None:
    store = MemoryStore()
    state = GroupedState(Codec(), store, 7, 0, held_rows(store))
    assert state.held is not None
    count(state.groups, "abc")
    for key in "ab":
        state.held.hold(key, state.groups.cache[key])
    assert commit(state, store) == 5
    assert state.live == 5
    again = GroupedState(Codec(), store, 7, state.live, held_rows(store))
    assert (again.groups.live, again.live) == (3, 5)
    assert [(key, group.n, group.held) for key, group in again.due(1_000)] == [("a", 1, None), ("b", 1, None)]
    commit(again, store)
    assert (again.groups.live, again.live) == (3, 3)


@pytest.mark.parametrize("number", [0, 1, 2, 127])
def test_timers_of_an_aggregation_lie_apart_from_groups_and_from_those_of_others(number: int) -> None:
    others = {timers_prefix(other) for other in range(128) if other != number}
    assert timers_prefix(number) not in others | {bytes([other]) for other in range(128)}


# Memory


def test_memory_of_a_value_is_that_of_all_its_parts() -> None:
    text, long = "x" * 100, 2**70
    parts = memory_of(text) + memory_of(long)
    for whole in ((text, long), [text, long], {text, long}, {text: long}):
        assert memory_of(whole) == memory_of(type(whole)()) + parts + _grown(whole)
    assert memory_of(Count(long)) == memory_of(Count(0)) - memory_of(0) + memory_of(long)


def _grown(whole: object) -> int:
    """What a container itself takes for what is in it."""
    return whole.__sizeof__() - type(whole)().__sizeof__()


def test_clean_groups_take_the_memory_that_is_measured_when_they_are_cut() -> None:
    store = MemoryStore()
    groups = groups_of(store)
    keys = [f"{number:0>100}" for number in range(1_000)]
    for key in keys:
        groups.dirty[key] = groups.load(key)
    assert groups.clean_bytes == 0
    commit(groups, store)
    real = sum(memory_of(key) + memory_of(groups.cache[key]) for key in keys)
    assert real <= groups.clean_bytes <= 1.5 * real
    clean = groups.clean_bytes
    groups.dirty[keys[0]] = groups.cache[keys[0]]
    assert groups.clean_bytes == pytest.approx(clean * 999 / 1_000)


def test_measure_follows_groups_that_grow() -> None:
    store = MemoryStore()
    groups = groups_of(store)
    for size in (10, 1_000):
        for number in range(100 * MEASURED):
            key = f"{number:0>{size}}"
            groups.dirty[key] = groups.load(key)
        commit(groups, store)
    real = sum(map(memory_of, groups.cache)) + sum(map(memory_of, groups.cache.values()))
    assert 0.5 * real <= groups.clean_bytes / 2 <= real


def test_partial_aggregates_are_never_forgotten() -> None:
    groups = groups_of(None)
    count(groups, "abc")
    assert groups.clean_bytes == 0


def test_groups_whose_last_change_is_the_longest_ago_are_forgotten_first() -> None:
    store = MemoryStore()
    groups = groups_of(store)
    for keys in ("abcd", "a", "c"):
        count(groups, keys)
        commit(groups, store)
        groups.evict(0)
    count(groups, "b")  # and not committed yet
    groups.evict(groups.clean_bytes // 3)
    assert set(groups.cache) == {"a", "b", "c"}
    groups.evict(groups.clean_bytes // 2)
    assert set(groups.cache) == {"b", "c"}
    groups.evict(groups.clean_bytes * 2)
    assert set(groups.cache) == {"b"}
    assert [(key, state.n) for key, state in groups.load_all()] == [("a", 2), ("b", 2), ("c", 2), ("d", 1)]

"""Properties of the state of rows in an order, each against a plain list."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.agents.tables import MemoryStore
from headrace.sql.runtime.logs import CHUNK, Logs
from headrace.sql.runtime.tops import backwards, enter
from headrace.sql.runtime.waiting import WaitingRows

EXAMPLES = settings().max_examples


class _Row(msgspec.Struct, array_like=True):
    number: int


class _Entry(msgspec.Struct):
    rank: tuple[int, int]


def _step(action: str, *operands: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just(action), *operands)


_COMES = _step("comes", st.integers(-3, 12), st.integers(0, 2), st.integers(0, 9))
_COMMITS = _step("commit") | _step("evict", st.integers(0, 2_000)) | _step("restart")
_WAITING_STEPS = st.lists(_COMES | _COMES | _COMES | _step("take", st.integers(-3, 14)) | _COMMITS, max_size=40)


@settings(max_examples=EXAMPLES * 3)
@given(_WAITING_STEPS, st.booleans())
def test_waiting_rows_come_out_as_from_a_sorted_list(steps: list[tuple[Any, ...]], results: bool) -> None:
    """Rows may come again, and those before the time that was taken are left out, as generated code does."""
    store = MemoryStore()
    state = WaitingRows(_Row, store, 1, 0)
    waiting: dict[tuple[Any, ...], int] = {}
    committed: tuple[dict[tuple[Any, ...], int], int] = ({}, state.taken_until)
    for action, *operands in steps:
        if action == "comes":
            time, origin, position = operands
            place = (time, b"k%d" % origin, 0) if results else (time, origin, position)
            if time >= state.taken_until:
                state.fresh.append((*place, _Row(hash(place) % 1_000)))
                waiting[place] = hash(place) % 1_000
        elif action == "take":
            until = max(operands[0], state.taken_until)
            expected = sorted(place for place in waiting if place[0] < until)
            found = [(*place, row.number) for *place, row in state.take(until)]
            assert found == [(*place, waiting.pop(place)) for place in expected]
        elif action == "restart":
            waiting, until = dict(committed[0]), committed[1]
            state = WaitingRows(_Row, store, 1, len(list(store.scan(b"", b"\xff"))))
            assert not list(state.take(until)), "what was taken is not there again"
        else:
            store.apply(list(state.cut()), 0)
            assert state.live == len(list(store.scan(b"", b"\xff"))) == len(waiting)
            committed = dict(waiting), state.taken_until
            if action == "evict":
                state.evict(operands[0])
            assert state.pending == 0
            assert state.clean_bytes >= 0


_KEYS = st.sampled_from((None, "", "a", "ab", 7))
_WRITES = _step("write", _KEYS, st.integers(1, 2 * CHUNK))
_LOG_STEPS = st.lists(_WRITES | _WRITES | _COMMITS, max_size=25)


@settings(max_examples=EXAMPLES * 2)
@given(_LOG_STEPS, st.sampled_from((1, 2, CHUNK, CHUNK + 1, 3 * CHUNK)), st.none() | st.integers(0, 2 * CHUNK))
def test_log_has_its_last_rows_whatever_is_evicted_or_restarted(
    steps: list[tuple[Any, ...]], rows: int, span_ms: int | None
) -> None:
    store = MemoryStore()
    state = Logs(tuple[int, int], rows, span_ms, store, 1, 0)
    written: dict[Any, list[tuple[int, int]]] = {}
    committed: dict[Any, list[tuple[int, int]]] = {}
    for action, *operands in steps:
        if action == "write":
            key, count = operands
            log = state.cache.get(key) or state.load(key)
            everything = written.setdefault(key, [])
            for _ in range(count):
                row = (len(everything) // 2, len(everything))
                everything.append(row)
                log.rows.append(row)
                if len(log.rows) > log.most:
                    state.trim(log)
            state.dirty[key] = log
        elif action == "restart":
            written = {key: list(everything) for key, everything in committed.items()}
            state = Logs(tuple[int, int], rows, span_ms, store, 1, len(list(store.scan(b"", b"\xff"))))
        else:
            store.apply(list(state.cut()), 0)
            assert state.live == len(list(store.scan(b"", b"\xff")))
            committed = {key: list(everything) for key, everything in written.items()}
            if action == "evict":
                state.evict(operands[0])
        for key, everything in written.items():
            needed = everything[-rows:]
            if span_ms is not None:
                newest = everything[-1][0]
                needed = max(needed, [row for row in everything if row[0] >= newest - span_ms], key=len)
            log = state.cache.get(key) or state.load(key)
            assert log.rows[-len(needed) :] == needed


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))), st.integers(1, 4))
def test_enter_keeps_the_smallest_ranks(ranks: list[tuple[int, int]], limit: int) -> None:
    rows: list[_Entry] = []
    for number, rank in enumerate(ranks):
        before = [entry.rank for entry in rows]
        place = enter(rows, _Entry(rank), limit)
        assert [entry.rank for entry in rows] == sorted(set(ranks[: number + 1]))[:limit]
        assert before[:place] == [entry.rank for entry in rows][:place], "rows before the place did not change"


_TEXTS = st.text(max_size=4) | st.text(alphabet="ab\0\x7f\u07ff\uffff\U0010ffff", max_size=4)


@given(
    st.lists(_TEXTS) | st.lists(st.binary(max_size=4)) | st.lists(st.decimals(allow_nan=False, allow_infinity=False))
)
def test_backwards_turns_any_order_round(values: list[Any]) -> None:
    assert sorted(values, key=backwards) == sorted(values, reverse=True)

"""Properties of the runtime's pieces: windows, watermarks, keys, time formats, state and the blocks of an exchange."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from copy import deepcopy
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.agents.tables import MemoryStore
from headrace.app.application import App
from headrace.sql.errors import RecordError
from headrace.sql.runtime.codec import AccumulatorCodec, Block, encode_key
from headrace.sql.runtime.expiry import ExpiringState
from headrace.sql.runtime.outputs import BLOCK_BYTES, BLOCK_ROWS, ExchangeBuffer
from headrace.sql.runtime.records import Change, Output
from headrace.sql.runtime.state import GroupedState, Groups, in_key_order, ordered_bytes
from headrace.sql.runtime.time_format import form_of
from headrace.sql.runtime.timers import Timers
from headrace.sql.runtime.values import iso_date, iso_timestamp, parse_iso_date, parse_iso_timestamp
from headrace.sql.runtime.watermarks import END, START, Watermarks
from headrace.sql.runtime.windowed import WindowedState

EXAMPLES = settings().max_examples
TIMES = st.integers(-62_135_596_800_000, 253_402_300_799_999)
"""Milliseconds of the years 1 to 9999."""

# Windows


@settings(max_examples=EXAMPLES // 2)
@given(st.lists(st.integers(-(10**12), 10**12) | st.integers(-5_000, 5_000), min_size=1), st.integers(1, 10_000))
def test_tumbling_window_each_timestamp_is_in_exactly_one(times: list[int], size_ms: int) -> None:
    app = App(
        "CREATE STREAM t (id INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '100000' DAY);"
        f"CREATE TABLE w AS SELECT id, COUNT(*) AS c FROM t WINDOW TUMBLING (SIZE {size_ms} MILLISECONDS) GROUP BY id;"
    )
    records = [{"partition": 0, "value": {"id": n, "at": time}} for n, time in enumerate(times)]
    result = app.local(records=records, partitions=1)
    assert result.counts.late == 0
    found = Counter(record.key["id"] for record in result.records)
    assert found == Counter(range(len(times)))
    for record in result.records:
        start, end = record.key["window_start"], record.key["window_end"]
        assert start <= times[record.key["id"]] < end == start + size_ms
        assert start % size_ms == 0


@settings(max_examples=EXAMPLES // 2)
@given(
    st.lists(st.integers(-(10**12), 10**12) | st.integers(-5_000, 5_000), min_size=1, max_size=20),
    st.integers(1, 12),
    st.integers(1, 700),
    st.integers(-2_000, 2_000),
)
def test_hopping_windows_each_timestamp_is_in_size_by_advance(
    times: list[int], windows: int, advance_ms: int, offset_ms: int
) -> None:
    size_ms = windows * advance_ms
    app = App(
        "CREATE STREAM t (id INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '100000' DAY);"
        f"CREATE TABLE w AS SELECT id, COUNT(*) AS c FROM t WINDOW HOPPING (SIZE {size_ms} MILLISECONDS, "
        f"ADVANCE BY {advance_ms} MILLISECONDS, OFFSET {offset_ms} MILLISECONDS) GROUP BY id;"
    )
    records = [{"partition": 0, "value": {"id": n, "at": time}} for n, time in enumerate(times)]
    result = app.local(records=records, partitions=1)
    found = Counter(record.key["id"] for record in result.records)
    assert found == Counter(dict.fromkeys(range(len(times)), windows))
    for record in result.records:
        start, end = record.key["window_start"], record.key["window_end"]
        assert start <= times[record.key["id"]] < end == start + size_ms
        assert (start - offset_ms) % advance_ms == 0


# Watermarks

_UPDATES = st.lists(st.tuples(st.integers(0, 3), st.integers(-50, 50) | st.just(END), st.booleans()))


@given(st.integers(1, 4), _UPDATES, st.sets(st.integers(0, 40)))
def test_watermark_never_goes_back_and_is_never_ahead_of_a_sender_that_is_not_idle(
    senders: int, updates: list[tuple[int, int, bool]], restores: set[int]
) -> None:
    watermarks = Watermarks(tuple(range(senders)))
    told = dict.fromkeys(range(senders), START)
    before = START
    idle: set[int] = set()
    ever_idle = False
    for number, (sender, watermark, is_idle) in enumerate(updates):
        if sender >= senders:
            continue
        watermarks.update(sender, watermark, idle=is_idle)
        told[sender] = max(told[sender], watermark)
        idle = idle | {sender} if is_idle else idle - {sender}
        ever_idle = ever_idle or is_idle
        current = watermarks.current()
        assert current >= before
        if not ever_idle:
            assert current == min(told.values())
        elif len(idle) < senders:
            assert current >= min(told[s] for s in told if s not in idle)
        before = current
        if number in restores:
            snapshot = msgspec.json.decode(msgspec.json.encode(watermarks.snapshot()), type=list[tuple[int, int, bool]])
            watermarks = Watermarks(tuple(range(senders)))
            watermarks.restore(snapshot, before)
            assert [watermarks.of(s) for s in range(senders)] == [told[s] for s in range(senders)]
            assert watermarks.current() == before
    assert watermarks.ended == all(watermark == END for watermark in told.values())


@given(_UPDATES, st.sets(st.integers(0, 40)))
def test_peers_move_a_watermark_only_while_its_own_sender_is_idle_and_never_past_one_that_is_not(
    updates: list[tuple[int, int, bool]], restores: set[int]
) -> None:
    """Sender 0 is the task's own, the others are peers."""
    watermarks = Watermarks((0,), (1, 2, 3))
    told = dict.fromkeys(range(4), START)
    idle: set[int] = set()
    before = START
    for number, (sender, watermark, is_idle) in enumerate(updates):
        watermarks.update(sender, watermark, idle=is_idle)
        told[sender] = max(told[sender], watermark)
        idle = idle | {sender} if is_idle else idle - {sender}
        current = watermarks.current()
        if 0 not in idle:
            assert current == max(before, told[0])
        elif len(idle) < 4:
            assert current == max(before, min(told[s] for s in told if s not in idle))
        else:
            assert current == max(before, *told.values())
        assert watermarks.ended == (told[0] == END)
        before = current
        if number in restores:
            snapshot = watermarks.snapshot()
            watermarks = Watermarks((0,), (1, 2, 3))
            watermarks.restore(snapshot, current)
            for peer in (1, 2, 3):  # read again from the beginning of the topic
                watermarks.update(peer, told[peer], idle=peer in idle)
            assert watermarks.current() == current


# Keys

_PARTS: tuple[st.SearchStrategy[Any], ...] = (
    st.none() | st.text(max_size=3),
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 300),
    st.none() | st.booleans(),
    st.none() | st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0),
    st.none() | st.integers(-(10**8), 10**8).map(lambda cents: Decimal(cents).scaleb(-2)),
)
_KINDS = st.lists(st.sampled_from(_PARTS), min_size=1, max_size=3)


@settings(max_examples=EXAMPLES * 5)
@given(_KINDS.flatmap(lambda parts: st.tuples(st.tuples(*parts), st.tuples(*parts))))
def test_encoding_of_keys_is_injective(pair: tuple[tuple[Any, ...], tuple[Any, ...]]) -> None:
    left, right = pair
    assert (encode_key(left) == encode_key(right)) == (left == right)
    if len(left) == 1:
        assert (encode_key(left[0]) == encode_key(right[0])) == (left == right)


def test_encoding_of_keys_tells_types_apart() -> None:
    keys: list[Any] = [None, True, 1, 1.0, "1", "true", "", (None,), ("1", ""), ("", "1"), ("1",), (1,), (True,), ()]
    assert len({encode_key(key) for key in keys}) == len(keys)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_window_ends_sort_in_the_store_as_numbers(left: int, right: int) -> None:
    assert (ordered_bytes(left) < ordered_bytes(right)) == (left < right)


# Time formats

_LITERALS = st.sampled_from(("-", "/", " ", ":", "T", "'T'", "''", "'at '", ", ", "'o''clock'", ".", "+", "(", "''''"))


@st.composite
def time_formats(draw: st.DrawFn) -> str:
    """A pattern that loses nothing: all fields, in some order, between literals that hold no digits."""
    parts = draw(st.permutations(["yyyy", "MM", "dd", "HH", "mm", "ss", draw(st.sampled_from(("SSS", "SSSSSS")))]))
    if draw(st.booleans()):
        parts = [*parts, draw(st.sampled_from(("X", "Z", "XXX")))]
    pattern = ""
    for part in parts:
        literal = draw(_LITERALS)
        pattern += (literal if literal != "T" else "'T'") + part
    return pattern


@settings(max_examples=EXAMPLES * 2)
@given(time_formats(), TIMES)
def test_time_format_reads_what_it_writes(pattern: str, milliseconds: int) -> None:
    time_format = form_of(pattern)
    assert time_format.parse(time_format.format(milliseconds)) == milliseconds


@given(TIMES)
def test_iso_times_read_what_they_write(milliseconds: int) -> None:
    assert parse_iso_timestamp(iso_timestamp(milliseconds)) == milliseconds
    assert parse_iso_timestamp(iso_timestamp(milliseconds).replace("T", " ")) == milliseconds
    assert form_of("iso8601").parse(form_of("ISO-8601").format(milliseconds)) == milliseconds
    days = milliseconds // 86_400_000
    assert parse_iso_date(iso_date(days)) == days


@settings(max_examples=EXAMPLES * 3)
@given(st.text(alphabet="yMdHmsSXZTaEDQVhYI[]'-: é.\0(", max_size=12), st.text(max_size=12), st.integers())
def test_time_format_any_pattern_and_text_is_read_or_refused(pattern: str, text: str, milliseconds: int) -> None:
    try:
        time_format = form_of(pattern)
    except RecordError:
        return
    for attempt in (lambda: time_format.parse(text), lambda: time_format.format(milliseconds)):
        _value_or_refusal(attempt)


@settings(max_examples=EXAMPLES * 3)
@given(st.text(alphabet="0123456789-:TZ .+W/é", max_size=30))
def test_iso_times_any_text_is_read_or_refused(text: str) -> None:
    _value_or_refusal(lambda: parse_iso_timestamp(text))
    _value_or_refusal(lambda: parse_iso_date(text))


def _value_or_refusal(attempt: Callable[[], Any]) -> None:
    with suppress(RecordError):
        attempt()


# State


class _Sum(msgspec.Struct, array_like=True):
    """A state as generated code defines them: an integer sum, a set, and the newest event time."""

    total: int = 0
    names: set[str] = msgspec.field(default_factory=set)
    time: int = START


_KEYS = st.sampled_from((None, "a", "b", "null", "ß"))
_AMOUNTS = st.sampled_from((0, 1, -1, 2**62, 2**63, -(2**63), 2**64, 10**30))
_SMALL = st.integers(-2, 2)


def _step(action: str, *operands: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just(action), *operands)


_ADD = _step("add", _KEYS, _AMOUNTS, _SMALL)
_ADOPT = _step("adopt", _KEYS, _AMOUNTS, _SMALL)
_COMMIT = _step("cut") | _step("applied") | _step("evict", st.integers(0, 1_000))
_REOPEN = _step("reopen")
Contents = dict[Any, tuple[int, frozenset[str]]]
"""Key → what the state of its group must be."""
State = GroupedState | WindowedState | Timers


def codec() -> AccumulatorCodec:
    return AccumulatorCodec(_Sum, str | None, ("total",))


def _accumulate(groups: Groups, action: str, key: Any, amount: int) -> None:
    """What generated code does for a row, or for a partial aggregate."""
    state = groups.cache.get(key)
    if action == "add":
        state = state or groups.load(key)
    else:
        partial = _Sum(amount, {str(amount)})
        state = state or groups.adopt(key, partial)
        if state is None:
            groups.dirty[key] = partial
            return
    state.total += amount
    state.names.add(str(amount))
    groups.dirty[key] = state


def _expect(model: Contents, key: Any, amount: int) -> None:
    total, names = model.get(key, (0, frozenset()))
    model[key] = (total + amount, names | {str(amount)})


def _contents(entries: Iterable[tuple[Any, Any]]) -> Contents:
    listed = list(entries)
    assert len(dict(listed)) == len(listed)
    return {key: (state.total, frozenset(state.names)) for key, state in listed}


class Commits:
    """The commits of one state: a cut is on its way for a while before the store has it, and rows come meanwhile.

    Whatever is committed, the store holds as many entries as the state says.
    """

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.live = 0
        self.contents: Any = {}
        """What the store has to hold, by a model."""
        self._under_way: tuple[list[Change], int, Any] | None = None

    def step(self, action: str, state: State, model: Any, size: int = 0) -> None:
        if action == "cut":
            self.step("applied", state, model)
            changes = list(state.cut())
            assert state.pending == 0
            self._under_way = changes, state.live, deepcopy(model)
            return
        if self._under_way is not None:
            changes, self.live, self.contents = self._under_way
            self.store.apply(changes, 0)
            self._under_way = None
        assert sum(1 for _ in self.store.scan(b"", b"\xff")) == self.live
        if action == "evict":
            assert not isinstance(state, Timers)
            for groups in state.caches:
                groups.evict(size)

    def reopened(self) -> tuple[int, Any]:
        """How many groups a new state finds, and what is in them; a cut that was on its way is lost."""
        self._under_way = None
        return self.live, deepcopy(self.contents)


@settings(max_examples=EXAMPLES * 3)
@given(st.lists(st.one_of(_ADD, _ADD, _ADOPT, _COMMIT, _REOPEN, _step("load"))))
def test_groups_hold_what_a_dict_holds_however_they_are_cut_evicted_and_reopened(steps: list[tuple[Any, ...]]) -> None:
    commits = Commits()
    state = GroupedState(codec(), commits.store, 3, 0)
    model: Contents = {}
    for action, *operands in steps:
        match action:
            case "cut" | "applied" | "evict":
                commits.step(action, state, model, *operands)
                assert action != "cut" or state.live == len(model)
            case "reopen":
                live, model = commits.reopened()
                state = GroupedState(codec(), commits.store, 3, live)
            case "load":
                assert _contents(state.groups.load_all()) == model
            case _:
                key, amount, _ = operands
                _accumulate(state.groups, action, key, amount)
                _expect(model, key, amount)
                assert state.groups.cache[key].total == model[key][0]
    assert _contents(state.groups.load_all()) == model


@settings(max_examples=EXAMPLES * 3)
@given(st.lists(st.one_of(_ADD, _ADD, _ADD, _ADOPT, _COMMIT, _REOPEN, _step("close", _SMALL))))
def test_windows_hold_what_a_dict_holds_however_they_are_cut_evicted_and_reopened(steps: list[tuple[Any, ...]]) -> None:
    commits = Commits()
    state = WindowedState(codec(), commits.store, 7, 0)
    model: dict[int, Contents] = {}
    for action, *operands in steps:
        match action:
            case "cut" | "applied" | "evict":
                commits.step(action, state, model, *operands)
                assert action != "cut" or state.live == sum(map(len, model.values()))
            case "reopen":
                live, model = commits.reopened()
                state = WindowedState(codec(), commits.store, 7, live)
            case "close":
                (until,) = operands
                closed = [(end, _contents(pane.load_all())) for end, pane in state.close(until)]
                assert closed == [(end, model.pop(end)) for end in sorted(model) if end <= until]
            case _:
                key, amount, end = operands
                _accumulate(state.open(end), action, key, amount)
                _expect(model.setdefault(end, {}), key, amount)
    assert [(end, _contents(pane.load_all())) for end, pane in state.close(100)] == sorted(model.items())


_TIMES = st.integers(-3, 12)


@settings(max_examples=EXAMPLES * 3)
@given(
    st.lists(
        st.one_of(
            _step("set", _KEYS, _TIMES),
            _step("unset", _KEYS),
            _step("due", _TIMES),
            _step("cut"),
            _step("applied"),
            _REOPEN,
        )
    )
)
def test_timers_are_due_as_a_dict_says_however_they_are_cut_and_reopened(steps: list[tuple[Any, ...]]) -> None:
    commits = Commits()
    keys = codec()
    timers = Timers(keys.encode_key, keys.decode_key, commits.store, b"t")
    model: dict[Any, int] = {}
    for action, *operands in steps:
        match action:
            case "cut" | "applied":
                commits.step(action, timers, model)
                assert action != "cut" or timers.live == len(model)
            case "reopen":
                live, model = commits.reopened()
                model = model or {}
                timers = Timers(keys.encode_key, keys.decode_key, commits.store, b"t")
                timers.live = live
            case "due":
                (until,) = operands
                due = sorted((time, keys.encode_key(key), key) for key, time in model.items() if time <= until)
                assert timers.due(until) == [key for _, _, key in due]
                model = {key: time for key, time in model.items() if time > until}
            case _:
                key, *time = operands
                if key in model:
                    timers.remove(model.pop(key), key)
                if time:
                    timers.add(time[0], key)
                    model[key] = time[0]
    assert timers.due(100) == [key for _, _, key in sorted((t, keys.encode_key(k), k) for k, t in model.items())]


@given(st.sets(st.text(max_size=3) | st.none()), st.integers(0, 2_000))
def test_closing_gives_groups_in_key_order_wherever_they_are(keys: set[str | None], evicted: int) -> None:
    commits = Commits()
    state = WindowedState(codec(), commits.store, 0, 0)
    for key in keys:
        _accumulate(state.open(10), "add", key, 1)
    commits.step("cut", state, {10: dict.fromkeys(keys)})
    commits.step("evict", state, None, evicted)
    closed = [key for _, pane in state.close(10) for key, _ in pane.load_all()]
    assert closed == in_key_order(list(keys))


TTL_MS = 8
_ROW = _step("add", st.sampled_from((None, "a")), _AMOUNTS, st.integers(-TTL_MS, 3 * TTL_MS))
_PASS = _step("watermark", st.sampled_from((0, 1, TTL_MS, 3 * TTL_MS, 6 * TTL_MS)))


@settings(max_examples=EXAMPLES * 5)
@given(st.integers(0, 30).flatmap(lambda n: st.lists(st.one_of(_ROW, _PASS, _COMMIT, _REOPEN), min_size=n)))
def test_deleting_groups_after_two_ttl_changes_no_result(steps: list[tuple[Any, ...]]) -> None:
    """Against a model that begins groups anew after a pause and never deletes one."""
    commits = Commits()

    def opened(live: int) -> ExpiringState:
        return ExpiringState(codec(), commits.store, 3, live, TTL_MS)

    state = opened(0)
    model: dict[Any, _Sum] = {}
    gone: set[Any] = set()
    watermark = 0

    def expire() -> None:
        for key, found in state.expire(watermark):
            assert key not in gone, "a group is deleted once"
            assert model[key].time + 2 * TTL_MS < watermark
            assert found == model[key]
            gone.add(key)

    for action, *operands in steps:
        match action:
            case "cut" | "applied" | "evict":
                commits.step(action, state, (model, gone, watermark), *operands)
                assert action != "cut" or state.live == len(model.keys() - gone)
            case "reopen":
                live, known = commits.reopened()
                model, gone, watermark = known or ({}, set(), 0)
                state = opened(live)
            case "watermark":
                watermark += operands[0]
                expire()
            case _:
                key, amount, ahead = operands
                time = watermark + ahead
                acc = state.groups.cache.get(key)
                if acc is None or acc.time + TTL_MS < time:
                    acc = state.load(key, time)
                if key not in model or model[key].time + TTL_MS < time:
                    model[key] = _Sum()
                gone.discard(key)
                for each in (acc, model[key]):
                    each.total += amount
                    each.names.add(str(amount))
                    each.time = max(each.time, time)
                state.groups.dirty[key] = acc
                assert acc == model[key]
    present = {key: found for key, found in model.items() if key not in gone}
    assert dict(state.groups.load_all()) == present
    watermark += 4 * TTL_MS
    expire()
    assert {key for key, found in model.items() if found.time + 2 * TTL_MS < watermark} == gone


# Exchanges

_ROWS = st.lists(st.tuples(_KEYS, st.integers(0, 3), st.sampled_from((1, 300, BLOCK_BYTES // 2, BLOCK_BYTES + 1))))
_STEPS = st.lists(st.tuples(st.sampled_from(("extend", "many", "advance", "take", "rows")), _ROWS), max_size=12)


@settings(max_examples=EXAMPLES)
@given(st.integers(1, 8), _STEPS)
def test_exchange_keeps_every_row_once_and_its_watermark_never_precedes_one(
    partitions: int, steps: list[tuple[str, list[tuple[Any, int, int]]]]
) -> None:
    buffer = ExchangeBuffer("r", partitions, 5, None)
    sent: list[list[Any]] = []
    blocks: dict[int, list[Block]] = {partition: [] for partition in range(partitions)}
    where: dict[Any, set[int]] = {}
    time = 0

    def receive(outputs: Sequence[Output]) -> None:
        for output in outputs:
            assert output.partition is not None
            assert output.topic == "r"
            for value in output.values:
                assert value is not None
                blocks[output.partition].append(msgspec.msgpack.decode(value, type=Block))

    def extend(rows: Sequence[tuple[Any, int, int]]) -> None:
        entries = [(key, [key, time + ahead, len(sent) + n, "x" * size]) for n, (key, ahead, size) in enumerate(rows)]
        sent.extend(row for _, row in entries)
        for key, row in entries:
            buffer.routes[key].append(row)

    for action, rows in steps:
        match action:
            case "extend":
                extend(rows)
            case "many":
                extend([("a", 0, 1)] * (BLOCK_ROWS + 1))
            case "advance":
                time += 1
                buffer.watermark = time  # rows made until now may be of this time or later
            case "take":
                receive(buffer.take())
                assert len(buffer) == 0
            case _:
                receive(buffer.take_rows())
                assert len(buffer) == 0
    receive(buffer.take())
    received: list[list[Any]] = []
    for partition, arrived in blocks.items():
        watermark = START
        for block in arrived:
            assert block.sender == 5
            rows = msgspec.msgpack.decode(block.rows)
            assert len(rows) <= BLOCK_ROWS
            assert len(rows) <= 1 or len(block.rows) <= BLOCK_BYTES
            for row in rows:
                assert row[1] >= watermark, "a row behind the watermark that came before it"
                where.setdefault(row[0], set()).add(partition)
            received += rows
            watermark = max(watermark, block.watermark)
        assert watermark == (buffer.watermark if steps else START)
    assert sorted(received, key=lambda row: row[2]) == sent
    assert all(len(places) == 1 for places in where.values())

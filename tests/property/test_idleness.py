"""Wall time may decide which window a row comes too late for, and nothing else.

Readers fall idle at any moment, hear of each other late, are stopped and killed. Every row is counted in one window or
told of as late, no window is written twice, and no watermark goes back.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.generators import TOPIC, EventRecord, Layout, Step
from tests.property.replay import Replay

from headrace.app.application import App
from headrace.sql.physical import Mode

SOURCE = (
    "CREATE STREAM s (k VARCHAR{}, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1' SECOND) "
    f"WITH (topic = '{TOPIC}');"
)
WINDOWS = (
    "CREATE TABLE windows AS SELECT k, window_start, COUNT(*) AS n FROM s GROUP BY k WINDOW TUMBLING (SIZE 2 SECONDS);"
)
SUMS = (
    "CREATE TABLE sums AS SELECT n, COUNT(*) AS windows, SUM(n) AS records FROM windows GROUP BY n "
    "WINDOW TUMBLING (SIZE 4 SECONDS);"
)
KEYED, RE_KEYED = SOURCE.format(" KEY") + WINDOWS, SOURCE.format("") + WINDOWS
LAYOUTS = {
    "keyed": (KEYED, Mode.PARTITIONED),
    "keyed, then re-keyed": (KEYED + SUMS, Mode.PARTITIONED),
    "re-keyed": (RE_KEYED, Mode.PARTITIONED),
    "one task": (RE_KEYED, Mode.SINGLE),
}
TASKS = st.none() | st.integers(0, 7)


@lru_cache
def compiled(sql: str) -> App:
    return App(sql)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Two to four partitions, each with a key of its own, whose event times go on by and large."""
    partitions = []
    for number in range(draw(st.integers(2, 4))):
        at, records = 0, []
        for step in draw(st.lists(st.integers(-900, 3_000), max_size=15)):
            at = max(0, at + step)
            key = f"k{number}"
            records.append(EventRecord(key.encode(), json.dumps({"k": key, "at": at}).encode(), at, None))
        partitions.append(tuple(records))
    return tuple(partitions)


_READ = st.builds(Step, st.just("read"), st.integers(0, 11), st.integers(1, 9))
_DELIVER = st.builds(Step, st.just("deliver"))
_FALL_IDLE = st.builds(Step, st.just("fall idle"), st.integers(0, 3))
_HEAR = st.builds(Step, st.just("hear"), TASKS, st.integers(1, 9))
_OTHER = st.builds(Step, st.sampled_from(("commit", "restart", "stop", "fall idle")), TASKS)
STEPS = st.lists(
    st.one_of(_READ, _READ, _READ, _DELIVER, _DELIVER, _FALL_IDLE, _FALL_IDLE, _HEAR, _OTHER), min_size=20, max_size=60
)


@pytest.mark.parametrize("name", LAYOUTS)
@settings(max_examples=settings().max_examples * 2)
@given(layout=layouts(), steps=STEPS)
def test_row_is_counted_once_or_told_of_whenever_readers_fall_idle(
    name: str, layout: Layout, steps: list[Step]
) -> None:
    sql, mode = LAYOUTS[name]
    replay = Replay(compiled(sql), mode, layout, 2, idle_timeout_s=0.0)
    for step in steps:
        replay.step(step)
    replay.finish()
    written = Counter((record.topic, record.key) for record in replay.emitted if record.topic in ("windows", "sums"))
    assert set(written.values()) <= {1}
    counted = sum(json.loads(r.value or b"")["n"] for r in replay.emitted if r.topic == "windows")
    told_of, rows = replay.late + replay.late_after_idle.total(), sum(map(len, layout))
    if name == "re-keyed":  # a partial aggregate that comes too late counts once
        assert counted + told_of <= rows
        assert counted + told_of == rows or replay.late_after_idle.total() > 0
    else:
        assert counted + told_of == rows
    if "sums" in sql:
        results = [json.loads(r.value or b"") for r in replay.emitted if r.topic == "sums"]
        assert sum(result["records"] for result in results) == counted, "no result of a window comes too late"
    for history in replay.watermarks.values():
        assert all(before <= after for before, after in pairwise(history))


POSITIONS = "CREATE STREAM positions AS SELECT k, at, ROW_NUMBER() OVER (PARTITION BY k ORDER BY at) AS n FROM s;"
COUNTS = """
CREATE TABLE counts AS SELECT k, window_start, COUNT(*) AS n FROM positions
GROUP BY k WINDOW TUMBLING (SIZE 2 SECONDS);
"""
ORDERED = {
    "keyed": (SOURCE.format(" KEY") + POSITIONS + COUNTS, Mode.PARTITIONED),
    "re-keyed": (SOURCE.format("") + POSITIONS + COUNTS, Mode.PARTITIONED),
    "one task": (SOURCE.format("") + POSITIONS + COUNTS, Mode.SINGLE),
}


@pytest.mark.parametrize("name", ORDERED)
@settings(max_examples=settings().max_examples * 2)
@given(layout=layouts(), steps=STEPS)
def test_rows_keep_the_order_of_their_times_whenever_readers_fall_idle(
    name: str, layout: Layout, steps: list[Step]
) -> None:
    sql, mode = ORDERED[name]
    replay = Replay(compiled(sql), mode, layout, 2, idle_timeout_s=0.0)
    for step in steps:
        replay.step(step)
    replay.finish()
    rows = [json.loads(r.value or b"") for r in replay.emitted if r.topic == "positions"]
    for key in {row["k"] for row in rows}:
        mine = [row for row in rows if row["k"] == key]
        assert [row["n"] for row in mine] == list(range(1, len(mine) + 1))
        assert all(before["at"] <= after["at"] for before, after in pairwise(mine))
    assert len(rows) + replay.late + replay.late_after_idle.total() == sum(map(len, layout))
    written = [record.key for record in replay.emitted if record.topic == "counts"]
    assert len(written) == len(set(written))
    counted = sum(json.loads(r.value or b"")["n"] for r in replay.emitted if r.topic == "counts")
    assert counted == len(rows), "no row that has waited comes too late for a window"

"""Windows over processing time: wall time decides which window a row is in, and nothing else.

However readers, commits and restarts interleave, in each mode, every row is counted in one window, and none is late.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.generators import EventRecord, Layout, Schedule, schedules
from tests.property.replay import Replay

from headrace.app.application import App
from headrace.sql.physical import Mode

SQL = """
CREATE STREAM events (k VARCHAR, pt AS PROCTIME());
CREATE TABLE counts AS SELECT k, window_start, COUNT(*) AS n FROM events
GROUP BY k WINDOW {window};
"""
WINDOWS = ("TUMBLING (200 MILLISECONDS)", "HOPPING (300 MILLISECONDS, 100 MILLISECONDS)", "SESSION (100 MILLISECONDS)")


@cache
def compiled(window: str) -> App:
    return App(SQL.format(window=window))


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """One to four partitions of records that say nothing of time."""
    keys = st.lists(st.sampled_from("abc"), max_size=25)
    return tuple(
        tuple(EventRecord(None, json.dumps({"k": key}).encode(), 1, None) for key in draw(keys))
        for _ in range(draw(st.integers(1, 4)))
    )


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("mode", Mode)
@given(layout=layouts(), parallelism=st.sampled_from((1, 2, 8)), schedule=schedules(restarts=True))
def test_every_row_is_in_the_windows_of_one_moment(
    window: str, mode: Mode, layout: Layout, parallelism: int, schedule: Schedule
) -> None:
    replay = Replay(compiled(window), mode, layout, parallelism)
    replay.run(schedule)
    rows = [json.loads(record.value or b"") for record in replay.emitted]
    assert len({record.key for record in replay.emitted}) == len(rows), "each window once"
    counted: Counter[str] = Counter()
    for row in rows:
        counted[row["k"]] += row["n"]
    times = 3 if "HOPPING" in window else 1
    wanted = Counter(json.loads(record.value or b"")["k"] for partition in layout for record in partition)
    assert counted == Counter({key: times * count for key, count in wanted.items()})
    assert (replay.late, replay.late_after_idle.total()) == (0, 0)

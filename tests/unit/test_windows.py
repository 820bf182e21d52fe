"""Windows, drawn: one character is one second, `x` a row, `|` an end of a window that the row is not in any more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

import headrace
from headrace import App

Row = dict[str, object]
SOURCE = """\
CREATE STREAM t (k VARCHAR, v BIGINT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '{delay}' SECOND);
CREATE TABLE w AS SELECT k, window_start, window_end, COUNT(*) AS n, SUM(v) AS total FROM t
GROUP BY k WINDOW {window} EMIT {emit};
"""


def run(
    window: str, rows: Iterable[Row], *, delay: int = 1_000_000, emit: str = "FINAL", **layout: int
) -> headrace.LocalResult:
    app = App(SOURCE.format(window=window, delay=delay, emit=emit))
    return app.local({"t": list(rows)}, **{"partitions": 1, **layout})  # type: ignore[arg-type]


def rows(drawing: str, key: str = "a", start: int = 0) -> list[Row]:
    """A row for each `x`, at the second of its place."""
    return [{"k": key, "v": 1, "at": (start + second) * 1000} for second, mark in enumerate(drawing) if mark == "x"]


def windows(result: headrace.LocalResult) -> list[tuple[int, int, int]]:
    """Start, end (in seconds) and number of rows of each window."""
    return [
        (record.value["window_start"] // 1000, record.value["window_end"] // 1000, record.value["n"])
        for record in result.records
        if record.value is not None
    ]


def test_tumbling_windows_are_half_open() -> None:
    #               0    5    10
    marks = rows("xx  x    xx")
    #               |----|----|----|
    assert windows(run("TUMBLING (5s)", marks)) == [(0, 5, 3), (5, 10, 1), (10, 15, 1)]


def test_tumbling_windows_before_the_epoch() -> None:
    #             -7   -5     0
    marks = rows("x xx    xx", start=-7)
    #                |----|----|
    assert windows(run("TUMBLING (5s)", marks)) == [(-10, -5, 1), (-5, 0, 2), (0, 5, 2)]


def test_velostream_counts_three_and_two() -> None:
    times = (1000, 2000, 3000, 6000, 7000)
    result = run("TUMBLING (5s)", [{"k": "a", "v": 1, "at": time} for time in times])
    assert windows(result) == [(0, 5, 3), (5, 10, 2)]


def test_offset_moves_the_windows() -> None:
    #              0    5    10
    marks = rows("x x x  x")
    #            |-|----|----|
    assert windows(run("TUMBLING (SIZE 5s, OFFSET 2s)", marks)) == [(-3, 2, 1), (2, 7, 2), (7, 12, 1)]


def test_hopping_windows_overlap() -> None:
    #              0    5    10
    marks = rows("x   x   x")
    assert windows(run("HOPPING (6s, 3s)", marks)) == [
        # -3    0  3  6  9  12 15
        #  |-----|
        (-3, 3, 1),
        #        |-----|
        (0, 6, 2),
        #           |-----|
        (3, 9, 2),
        #              |-----|
        (6, 12, 1),
    ]


def test_hopping_windows_that_leave_gaps() -> None:
    #              0    5    10
    marks = rows("xxxx xxxxxx")
    #            |-|   |-|   |
    assert windows(run("HOPPING (2s, 6s)", marks)) == [(0, 2, 2), (6, 8, 2)]


def test_hopping_windows_whose_size_is_no_multiple_of_the_advance() -> None:
    #              0    5    10
    marks = rows("    x")
    assert windows(run("HOPPING (5s, 2s)", marks)) == [(0, 5, 1), (2, 7, 1), (4, 9, 1)]


def test_cumulating_windows_begin_together() -> None:
    #              0    5    10
    marks = rows("x    x  x x")
    assert windows(run("CUMULATE (3s, 9s)", marks)) == [
        # |--|
        (0, 3, 1),
        # |-----|
        (0, 6, 2),
        # |--------|
        (0, 9, 3),
        #          |--|
        (9, 12, 1),
        #          |-----|
        (9, 15, 1),
        #          |--------|
        (9, 18, 1),
    ]


def test_session_ends_a_gap_after_its_last_row() -> None:
    #              0    5    10   15
    marks = rows("x  xx    x   x")
    #            |------...|...|...|   a row at the end is no part of it
    assert windows(run("SESSION (4s)", marks)) == [(0, 8, 3), (9, 13, 1), (13, 17, 1)]


def test_sessions_of_keys_are_their_own() -> None:
    marks = [*rows("x  x", "a"), *rows("  x      x", "b")]
    assert windows(run("SESSION (4s)", marks)) == [(2, 6, 1), (0, 7, 2), (9, 13, 1)]


@pytest.mark.parametrize("mode", ["single", "partitioned"])
def test_row_between_two_sessions_makes_them_one(mode: str) -> None:
    late = rows("x     x", "a") + rows("   x", "a")
    app = App(SOURCE.format(window="SESSION (4s)", delay=10, emit="FINAL"))
    result = app.local({"t": late}, mode=mode, partitions=1)
    assert windows(result) == [(0, 10, 3)]


def test_changes_of_a_session_take_back_what_became_part_of_it() -> None:
    merged = rows("x     x", "a") + rows("   x", "a")
    result = run("SESSION (4s)", merged, emit="CHANGES")
    assert [record.value is not None for record in result.records] == [True, True, False, False, True]
    assert list(result.final("w").values()) == [
        {"k": "a", "window_start": 0, "window_end": 10_000, "n": 3, "total": 3},
    ]


def test_late_record_misses_only_the_windows_that_have_closed() -> None:
    #                      0    5    10
    marks = rows("          x") + rows("    x")  # the watermark is at 8: [0, 6) has closed, [3, 9) has not
    result = run("HOPPING (6s, 3s)", marks, delay=2)
    assert windows(result) == [(3, 9, 1), (6, 12, 1), (9, 15, 1)]
    assert result.counts.late == 1
    assert [letter.kind for letter in result.dead_letters] == ["late"]


@pytest.mark.parametrize("emit", ["CHANGES", "FINAL"])
@pytest.mark.parametrize("mode", ["single", "partitioned"])
@pytest.mark.parametrize("window", ["HOPPING (6s, 3s)", "CUMULATE (3s, 12s)"])
def test_window_that_a_record_was_late_for_stays_without_it_where_others_hold_it_open(
    window: str, mode: str, emit: str
) -> None:
    """Late is decided by the record's own partition, and goes with the row to where it is counted."""
    #                                   0    5    10
    ahead, late, behind = rows("        x"), rows("    x"), rows(" x")
    records = [
        *({"partition": 1, "value": row} for row in behind),
        *({"partition": 0, "value": row} for row in (*ahead, *late)),
    ]
    app = App(SOURCE.format(window=window, delay=0, emit=emit))
    result = app.local(records=records, mode=mode, partitions=2)
    counted = {(start, end): n for start, end, n in windows(result)}
    closed = [(start, end) for start, end in counted if end <= 8]
    assert closed
    assert all(counted[bounds] == 1 for bounds in closed)  # the row of the partition that is behind
    assert result.counts.late == 1


def test_partitions_read_one_after_the_other_lose_nothing() -> None:
    records = [
        {"partition": partition, "value": {"k": "a", "v": 1, "at": second * 1000}}
        for partition in range(4)
        for second in range(1000)
    ]
    app = App(SOURCE.format(window="TUMBLING (1m)", delay=0, emit="FINAL"))
    for mode in ("single", "partitioned"):
        result = app.local(records=records, mode=mode, partitions=4)
        assert result.counts.late == 0
        assert sum(record.value["n"] for record in result.records) == 4_000


def _local(zone: str, *moment: int) -> int:
    return int(datetime(*moment, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Paris", (2026, 3, 28), 24),
        ("Europe/Paris", (2026, 3, 29), 23),
        ("Europe/Paris", (2026, 10, 25), 25),
        ("America/Havana", (2026, 3, 8), 23),  # clocks skip midnight
        ("Asia/Kolkata", (2026, 3, 29), 24),
        ("America/New_York", (1969, 10, 26), 25),
    ],
)
def test_day_of_a_time_zone_is_as_long_as_its_clocks_say(zone: str, day: tuple[int, int, int], hours: int) -> None:
    noon = _local(zone, *day, 12)
    result = run(f"TUMBLING (1 DAY, TIMEZONE '{zone}')", [{"k": "a", "v": 1, "at": noon}])
    (record,) = result.records
    start, end = record.value["window_start"], record.value["window_end"]
    assert end - start == hours * 3_600_000
    assert start <= noon < end
    result = run(
        f"TUMBLING (1 DAY, TIMEZONE '{zone}')", [{"k": "a", "v": 1, "at": t} for t in (start - 1, start, end - 1, end)]
    )
    assert [record.value["n"] for record in result.records] == [1, 2, 1]


def test_time_outside_of_the_calendar_is_a_bad_record() -> None:
    result = run("TUMBLING (1 DAY, TIMEZONE 'UTC')", [{"k": "a", "v": 1, "at": 10**17}])
    assert [letter.kind for letter in result.dead_letters] == ["time"]
    assert result.records == []


@pytest.mark.parametrize("mode", ["single", "partitioned"])
def test_window_of_rows_that_is_outside_of_the_calendar_is_a_bad_result(mode: str) -> None:
    app = App(
        "CREATE STREAM t (k VARCHAR, v BIGINT, at TIMESTAMP, WATERMARK FOR at);"
        "CREATE TABLE small AS SELECT k, v, COUNT(*) AS n FROM t GROUP BY k, v, TUMBLE(at, 1ms);"
        "CREATE TABLE w AS SELECT k, SUM(n) AS n FROM small WINDOW TUMBLING (1 DAY, TIMEZONE 'UTC') GROUP BY k "
        "EMIT CHANGES;"
    )
    result = app.local({"t": [{"k": "a", "v": 1, "at": 0}, {"k": "a", "v": 1, "at": 10**17}]}, mode=mode, partitions=2)
    assert [letter.kind for letter in result.dead_letters] == ["time"]
    assert list(result.final("w").values()) == [{"k": "a", "n": 1}]

"""DuckDB as oracle: over the records that are neither bad nor late, a query's final rows are what DuckDB computes.

Known differences, written out in the generators: DuckDB divides integers by `//` (it truncates toward zero, as ours
does), AVG of DECIMAL is DOUBLE there and exact here, SUM of BIGINT is wider there and an error of the result row here.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.generators import (
    AGGREGATES,
    BAD,
    COLUMNS,
    KEYS,
    SINK,
    AppCase,
    GroupedQuery,
    Layout,
    Schedule,
    Sink,
    Source,
    Term,
    Window,
    grouped_apps,
    layouts,
    rows_in_order,
    schedules,
)
from tests.property.replay import Replay
from tests.property.results import bad_records, bad_results, final_contents

from headrace.app.application import App
from headrace.sql.physical import Mode

EXAMPLES = settings().max_examples
_TABLE = (
    "CREATE OR REPLACE TABLE events (k VARCHAR, b BOOLEAN, n BIGINT, i INTEGER, x DOUBLE, d DECIMAL(12, 2), s VARCHAR, "
    "day DATE, time BIGINT, partition INTEGER, position INTEGER, window_start BIGINT, window_end BIGINT, late BOOLEAN)"
)
_WIDTH = 14


@dataclass(frozen=True)
class Expected:
    """What must come out of a query."""

    rows: dict[tuple[Any, ...], tuple[Any, ...]]
    overflowed: int
    """Groups whose sum does not fit BIGINT."""
    late: Counter[tuple[int, int]]
    """For each late record, how many windows it missed."""
    bad: Counter[tuple[int, int]]


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def expected(connection: duckdb.DuckDBPyConnection, case: AppCase, layout: Layout) -> Expected:
    query = case.query
    assert query is not None
    table, bad = _readable(case, query, layout)
    connection.execute(_TABLE)
    if table:
        slots = ", ".join(["(" + ", ".join("?" * _WIDTH) + ")"] * len(table))
        connection.execute(f"INSERT INTO events VALUES {slots}", [value for row in table for value in row])
    passing = query.where.oracle if query.where else "TRUE"
    errors = " OR ".join(f"COALESCE({t.error}, FALSE)" for t in (*query.keys, *query.aggregates) if t.error) or "FALSE"
    late = connection.execute(f"SELECT partition, position FROM events WHERE late AND ({passing})").fetchall()
    failed = connection.execute(
        f"SELECT DISTINCT partition, position FROM events WHERE NOT late AND ({passing}) AND ({errors})"
    ).fetchall()
    rows, overflowed = _grouped(connection, query, f"NOT late AND ({passing}) AND NOT ({errors})")
    return Expected(rows, overflowed, Counter(late), Counter([*bad, *failed]))


def _readable(case: AppCase, query: GroupedQuery, layout: Layout) -> tuple[list[list[Any]], list[tuple[int, int]]]:
    """Rows for DuckDB, each with its windows and whether it is late; and the records that are bad for the query."""
    table: list[list[Any]] = []
    bad: list[tuple[int, int]] = []
    newest: dict[int, int] = {}
    delay_ms = case.source.delay_ms or 0
    for partition, offset, record in rows_in_order(layout):
        time = case.source.time_of(record)
        if time is None or record.row is None:
            bad.append((partition, offset))
            continue
        row = record.row
        watermark = newest[partition] - delay_ms if partition in newest else None
        newest[partition] = max(time, newest.get(partition, time))
        if any(row[name] is BAD for name in query.columns):
            bad.append((partition, offset))
            continue
        values = [None if row[name] is BAD else row[name] for name in COLUMNS]
        for start, end, late in _windows(query.window, time, watermark):
            table.append([*values, time, partition, offset, start, end, late])
    return table, bad


def _windows(window: Window | None, time: int, watermark: int | None) -> list[tuple[int, int, bool]]:
    """The windows of a time, and whether they had closed by the watermark; a session is not known yet."""
    if window is None:
        return [(0, 0, False)]
    if window.kind == "SESSION":
        return [(0, 0, watermark is not None and time + window.grace_ms < watermark)]
    return [
        (start, end, watermark is not None and end + window.grace_ms <= watermark)
        for start, end in window.windows_of(time)
    ]


def _sessions(keys: list[str], gap_ms: int, condition: str) -> str:
    """Gaps and islands: rows that follow each other within a key by less than the gap are in one session."""
    by = ", ".join(keys or ["TRUE"])
    starts = f"CASE WHEN time - LAG(time) OVER (PARTITION BY {by} ORDER BY time) < {gap_ms} THEN 0 ELSE 1 END AS starts"
    island = f"SUM(starts) OVER (PARTITION BY {by} ORDER BY time ROWS UNBOUNDED PRECEDING) AS island"
    first, last = (f"{edge}(time) OVER (PARTITION BY {by}, island)" for edge in ("MIN", "MAX"))
    flagged = f"SELECT * EXCLUDE (window_start, window_end), {starts} FROM events WHERE {condition}"
    numbered = f"SELECT *, {island} FROM ({flagged})"
    return f"(SELECT *, {first} AS window_start, {last} + {gap_ms} AS window_end FROM ({numbered}))"


def _grouped(
    connection: duckdb.DuckDBPyConnection, query: GroupedQuery, condition: str
) -> tuple[dict[tuple[Any, ...], tuple[Any, ...]], int]:
    keys = [term.oracle for term in query.keys]
    if query.window is not None:
        keys += ["window_start", "window_end"]
    items = [*keys, *(term.oracle for term in query.aggregates)]
    group = f"GROUP BY {', '.join(keys)}" if keys else "HAVING COUNT(*) > 0"
    relation = f"(SELECT * FROM events WHERE {condition})"
    if query.window is not None and query.window.kind == "SESSION":
        relation = _sessions([term.oracle for term in query.keys], query.window.size_ms, condition)
    found = connection.execute(
        f"SELECT {', '.join([*items, query.having.oracle if query.having else 'TRUE'])} FROM {relation} {group}"
    ).fetchall()
    rows: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    overflowed = 0
    for *values, passes in found:
        row = tuple(map(_comparable, values))
        sums = [value for value, term in zip(row[len(keys) :], query.aggregates, strict=True) if term.sql == "SUM(n)"]
        if any(total is not None and not -(2**63) <= total < 2**63 for total in sums):
            overflowed += 1  # the row is made, and refused, before HAVING is asked
        elif passes is True:
            rows[row[: len(keys)]] = row[len(keys) :]
    return rows, overflowed


def _comparable(value: Any) -> Any:
    """A value of DuckDB as it stands in our JSON."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict) and value.keys() == {"total", "count"}:  # a mean of DECIMAL
        total, count = value.values()
        return None if not count else (Decimal(total) / Decimal(count)).quantize(Decimal("1e-6"), ROUND_HALF_UP)
    if isinstance(value, float):
        return value + 0.0
    return value


def assert_as_expected(replay: Replay, case: AppCase, want: Expected) -> None:
    query = case.query
    assert query is not None
    (sink,) = case.sinks
    width = len(query.keys) + (2 if query.window else 0)
    found = {}
    for row, _ in final_contents(replay.emitted, sink).values():
        values = tuple(v + 0.0 if isinstance(v, float) else v for v in row.values())
        assert list(row) == query.names
        assert values[:width] not in found, "one group has two keys"
        found[values[:width]] = values[width:]
    assert set(found) == set(want.rows)
    for key, values in want.rows.items():
        for name, ours, theirs in zip(query.names[width:], found[key], values, strict=True):
            assert _same(ours, theirs), (key, name, ours, theirs)
    letters = bad_records(replay)
    late = Counter({(int(p), int(o)): c for (_, kind, p, o), c in letters.items() if kind == "late"})
    bad = Counter({(int(p), int(o)): c for (_, kind, p, o), c in letters.items() if kind != "late"})
    assert late == Counter(want.late.keys())
    assert bad == want.bad
    assert replay.late == want.late.total()
    if query.final:
        assert bad_results(replay).total() == want.overflowed


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, float) and ours is not None:
        return math.isclose(float(ours), theirs, rel_tol=1e-9, abs_tol=1e-9)
    return type(ours) is not bool and ours == theirs if type(theirs) is not bool else ours is theirs


@pytest.mark.parametrize(
    "terms", [AGGREGATES[first : first + 6] for first in range(0, len(AGGREGATES), 6)], ids=lambda terms: terms[0].sql
)
@settings(max_examples=max(5, EXAMPLES // 10))
@given(layout=layouts(keyed=False), schedule=schedules(restarts=True))
def test_every_aggregate_gives_what_duckdb_computes(
    connection: duckdb.DuckDBPyConnection, terms: tuple[Term, ...], layout: Layout, schedule: Schedule
) -> None:
    query = GroupedQuery((KEYS[0],), terms, None, None, None, True, "every")
    case = AppCase(Source(500, keyed=False), query.sql(), (Sink(SINK, "final", query.doubles),), query)
    want = expected(connection, case, layout)
    app = App(case.sql)
    for mode in Mode:
        replay = Replay(app, mode, layout, 2)
        replay.run(schedule)
        assert_as_expected(replay, case, want)


@st.composite
def runs(draw: st.DrawFn) -> tuple[AppCase, Layout]:
    case = draw(grouped_apps())
    return case, draw(layouts(keyed=case.source.keyed))


@settings(max_examples=EXAMPLES * 2)
@given(run=runs(), parallelism=st.sampled_from((1, 2, 4, 8)), schedule=schedules(restarts=False))
def test_grouped_query_gives_what_duckdb_computes(
    connection: duckdb.DuckDBPyConnection, run: tuple[AppCase, Layout], parallelism: int, schedule: Schedule
) -> None:
    case, layout = run
    want = expected(connection, case, layout)
    app = App(case.sql)
    for mode in Mode:
        replay = Replay(app, mode, layout, parallelism)
        replay.run(schedule)
        assert_as_expected(replay, case, want)

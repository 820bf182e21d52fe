"""OVER: over the records that are neither bad nor late, the rows are those that DuckDB computes, however they came."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.generators import (
    BAD,
    COLUMNS,
    AppCase,
    Layout,
    Schedule,
    grouped_apps,
    layouts,
    rows_in_order,
    schedules,
)
from tests.property.overs import OverCase, OverQuery, TopCase, TopQuery, ordered_apps, over_apps, top_apps
from tests.property.replay import Guarantee, Replay
from tests.property.results import assert_same_sinks, bad_records, final_contents, of_sink, read_row

from headrace.app.application import App
from headrace.sql.physical import Mode

EXAMPLES = settings().max_examples
_TABLE = (
    "CREATE OR REPLACE TABLE readable (k VARCHAR, b BOOLEAN, n BIGINT, i INTEGER, x DOUBLE, d DECIMAL(12, 2), "
    's VARCHAR, day DATE, "at" BIGINT, time BIGINT, partition INTEGER, position INTEGER, late BOOLEAN)'
)
_WIDTH = 13


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def fill(
    connection: duckdb.DuckDBPyConnection, case: AppCase, columns: frozenset[str], layout: Layout
) -> Counter[tuple[int, int]]:
    """Put what can be read of a layout into the table `readable`; returns what cannot."""
    table: list[list[Any]] = []
    bad: Counter[tuple[int, int]] = Counter()
    newest: dict[int, int] = {}
    for partition, offset, record in rows_in_order(layout):
        time = case.source.time_of(record)
        if time is None or record.row is None:
            bad[partition, offset] += 1
            continue
        late = partition in newest and time + (case.source.delay_ms or 0) < newest[partition]
        newest[partition] = max(time, newest.get(partition, time))
        if any(record.row[name] is BAD for name in columns):
            bad[partition, offset] += 1
            continue
        values = [None if record.row[name] is BAD else record.row[name] for name in COLUMNS]
        table.append([*values, record.row["at"], time, partition, offset, late])
    connection.execute(_TABLE)
    if table:
        slots = ", ".join(["(" + ", ".join("?" * _WIDTH) + ")"] * len(table))
        connection.execute(f"INSERT INTO readable VALUES {slots}", [value for row in table for value in row])
    return bad


def comparable(value: Any) -> Any:
    """A value of DuckDB as it stands in our JSON."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict) and value.keys() == {"total", "count"}:  # a mean of DECIMAL
        total, count = value.values()
        return None if not count else (Decimal(total) / Decimal(count)).quantize(Decimal("1e-6"), ROUND_HALF_UP)
    return value + 0.0 if isinstance(value, float) else value


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def assert_same_rows(ours: Iterable[Mapping[str, Any]], theirs: Iterable[Mapping[str, Any]], doubles: set[str]) -> None:
    """The same rows, DOUBLE columns to nine digits."""

    def grouped(rows: Iterable[Mapping[str, Any]]) -> dict[Any, list[list[Any]]]:
        found: dict[Any, list[list[Any]]] = defaultdict(list)
        for row in rows:
            exact = tuple((name, type(v) is bool, _hashable(v)) for name, v in row.items() if name not in doubles)
            found[exact].append([row[name] for name in row if name in doubles])
        return {key: sorted(rows, key=repr_of) for key, rows in found.items()}

    def repr_of(values: list[Any]) -> list[tuple[bool, float]]:
        return [(v is None, 0.0 if v is None else float(v)) for v in values]

    left, right = grouped(ours), grouped(theirs)
    counts = [Counter({key: len(rows) for key, rows in side.items()}) for side in (left, right)]
    assert counts[0] == counts[1], (counts[0] - counts[1], counts[1] - counts[0])
    for key, rows in left.items():
        for mine, other in zip(rows, right[key], strict=True):
            for a, b in zip(mine, other, strict=True):
                assert (a is None) == (b is None), (key, rows, right[key])
                assert a is None or math.isclose(float(a), float(b), rel_tol=1e-9, abs_tol=1e-9), (key, mine, other)


def conditions(
    connection: duckdb.DuckDBPyConnection, query: OverQuery | TopQuery
) -> tuple[str, str, Counter[tuple[int, int]]]:
    """Which readable rows pass, which of them have an error, and the records that do."""
    passing = query.where.oracle if query.where else "TRUE"
    errors = " OR ".join(f"COALESCE({term.error}, FALSE)" for term in query.terms if term.error) or "FALSE"
    failed = connection.execute(f"SELECT partition, position FROM readable WHERE ({passing}) AND ({errors})").fetchall()
    return passing, errors, Counter(failed)


@st.composite
def over_runs(draw: st.DrawFn) -> tuple[OverCase, Layout]:
    case = draw(over_apps())
    return case, draw(layouts(keyed=case.source.keyed))


@settings(max_examples=EXAMPLES * 2)
@given(
    run=over_runs(),
    parallelism=st.sampled_from((1, 2, 3, 8)),
    one=schedules(restarts=True),
    other=schedules(restarts=True),
    cache_bytes=st.none() | st.integers(0, 999),
)
def test_over_gives_what_duckdb_computes_in_every_mode_whatever_happens(
    connection: duckdb.DuckDBPyConnection,
    run: tuple[OverCase, Layout],
    parallelism: int,
    one: Schedule,
    other: Schedule,
    cache_bytes: int | None,
) -> None:
    case, layout = run
    query = case.over
    assert query is not None
    bad = fill(connection, case, query.columns, layout)
    passing, errors, failed = conditions(connection, query)
    late = Counter(
        connection.execute(
            f"SELECT partition, position FROM readable WHERE late AND ({passing}) AND NOT ({errors})"
        ).fetchall()
    )
    items = [*query.kept, *(f"v{index}" for index in range(len(query.calls)))]
    found = connection.execute(
        f"WITH ordered AS (SELECT *, ROW_NUMBER() OVER (ORDER BY time, partition, position) AS seq FROM readable "
        f"WHERE NOT late AND ({passing}) AND NOT ({errors})) SELECT {', '.join(query.oracle_items())} FROM ordered"
    ).fetchall()
    expected = [dict(zip(items, map(comparable, row), strict=True)) for row in found]
    (sink,) = case.sinks
    app = App(case.sql)
    for mode, schedule in ((Mode.SINGLE, one), (Mode.PARTITIONED, other)):
        replay = Replay(app, mode, layout, parallelism, cache_bytes=cache_bytes)
        replay.run(schedule)
        rows = [read_row(record.value, sink) for record in of_sink(replay.emitted, sink) if record.value is not None]
        assert_same_rows(rows, expected, set(sink.doubles))
        letters = bad_records(replay)
        assert Counter({(int(p), int(o)): c for (_, kind, p, o), c in letters.items() if kind == "late"}) == late
        others = Counter({(int(p), int(o)): c for (_, kind, p, o), c in letters.items() if kind != "late"})
        assert others == bad + failed
        if not schedule.restarts:
            assert replay.late == late.total()


@settings(max_examples=EXAMPLES // 2)
@given(
    run=over_runs(),
    mode=st.sampled_from(list(Mode)),
    parallelism=st.sampled_from((1, 3, 8)),
    one=schedules(restarts=True),
)
def test_at_least_once_a_crash_repeats_rows_of_over_and_changes_none(
    run: tuple[OverCase, Layout], mode: Mode, parallelism: int, one: Schedule
) -> None:
    """Where a row comes again, it is known by its place in the order."""
    case, layout = run
    app = App(case.sql)
    reference = Replay(app, Mode.SINGLE, layout, 1)
    reference.run(Schedule((), again_at_end=False))
    replay = Replay(app, mode, layout, parallelism, Guarantee.AT_LEAST_ONCE)
    replay.run(one)
    assert_same_sinks(case, reference, replay, repeats=True)


@st.composite
def top_runs(draw: st.DrawFn) -> tuple[TopCase, Layout]:
    case = draw(top_apps())
    return case, draw(layouts(keyed=case.source.keyed))


@settings(max_examples=EXAMPLES * 2)
@given(
    run=top_runs(),
    parallelism=st.sampled_from((1, 2, 3, 8)),
    one=schedules(restarts=True),
    other=schedules(restarts=True),
    cache_bytes=st.none() | st.integers(0, 999),
)
def test_top_n_holds_what_duckdb_computes_in_every_mode_whatever_happens(
    connection: duckdb.DuckDBPyConnection,
    run: tuple[TopCase, Layout],
    parallelism: int,
    one: Schedule,
    other: Schedule,
    cache_bytes: int | None,
) -> None:
    case, layout = run
    query = case.top
    assert query is not None
    bad = fill(connection, case, query.columns, layout)
    passing, errors, failed = conditions(connection, query)
    found = connection.execute(query.oracle(f"({passing}) AND NOT ({errors})")).fetchall()
    expected = [dict(zip(query.items, map(comparable, row), strict=True)) for row in found]
    (sink,) = case.sinks
    app = App(case.sql)
    for mode, schedule in ((Mode.SINGLE, one), (Mode.PARTITIONED, other)):
        replay = Replay(app, mode, layout, parallelism, cache_bytes=cache_bytes)
        replay.run(schedule)
        assert_same_rows([row for row, _ in final_contents(replay.emitted, sink).values()], expected, {"x"})
        assert Counter({(int(p), int(o)): c for (_, _, p, o), c in bad_records(replay).items()}) == bad + failed


@st.composite
def ordered_runs(draw: st.DrawFn) -> tuple[AppCase, Layout]:
    case = draw(ordered_apps())
    return case, draw(layouts(keyed=case.source.keyed))


@settings(max_examples=EXAMPLES * 2)
@given(
    run=ordered_runs(),
    parallelism=st.sampled_from((1, 2, 3, 8)),
    one=schedules(restarts=True),
    other=schedules(restarts=True),
    cache_bytes=st.none() | st.integers(0, 999),
)
def test_queries_over_ordered_rows_are_the_same_in_every_mode_whatever_happens(
    run: tuple[AppCase, Layout], parallelism: int, one: Schedule, other: Schedule, cache_bytes: int | None
) -> None:
    case, layout = run
    app = App(case.sql)
    reference = Replay(app, Mode.SINGLE, layout, 1)
    reference.run(Schedule((), again_at_end=False))
    for mode, schedule in ((Mode.SINGLE, one), (Mode.PARTITIONED, other)):
        replay = Replay(app, mode, layout, parallelism, cache_bytes=cache_bytes)
        replay.run(schedule)
        assert_same_sinks(case, reference, replay, repeats=False)
        assert bad_records(reference) == bad_records(replay)
        if not schedule.restarts:
            assert replay.late == reference.late


_SHUFFLED = "SELECT at, day, s, d, x, i, n, b, k FROM events"


@settings(max_examples=EXAMPLES // 2)
@given(
    case=grouped_apps(),
    data=st.data(),
    mode=st.sampled_from(list(Mode)),
    parallelism=st.sampled_from((1, 3, 8)),
    schedule=schedules(restarts=True),
)
def test_query_over_a_query_gives_what_it_gives_over_the_stream(
    case: AppCase, data: st.DataObject, mode: Mode, parallelism: int, schedule: Schedule
) -> None:
    layout = data.draw(layouts(keyed=case.source.keyed))
    head, _, rest = case.queries.partition(" AS SELECT ")
    select = f"SELECT {rest}".removesuffix(";")
    spellings = (
        f"{head} AS {select.replace('FROM events', f'FROM ({_SHUFFLED}) AS e')};",
        f"{head} AS WITH e AS ({_SHUFFLED}) {select.replace('FROM events', 'FROM e')};",
        f"CREATE VIEW e AS ({_SHUFFLED}); {head} AS {select.replace('FROM events', 'FROM e')};",
        f"{head} AS WITH e AS ({select}) SELECT * FROM (SELECT * FROM e);",
    )
    text = data.draw(st.sampled_from(spellings))
    plain, nested = (
        Replay(App(f"{case.source.sql()}\n{queries}"), mode, layout, parallelism) for queries in (case.queries, text)
    )
    for replay in (plain, nested):
        replay.run(schedule)
    assert nested.emitted == plain.emitted

"""Arithmetic, fields, rounding and texts of times as DuckDB has them, 1900 to 2100; time zones as zoneinfo has them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import App
from headrace.sql import intervals
from headrace.sql.runtime import times
from headrace.sql.runtime.values import iso_date

EXAMPLES = settings().max_examples
_FIRST_MS, _LAST_MS = -2_208_988_800_000, 4_102_444_799_999
_DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EDGES = [-1, 0, 951_782_400_000, 951_868_799_999, 1_706_659_200_000, 1_709_164_800_000, 1_735_603_200_000]
"""Around the epoch, leap days and ends of months."""
MOMENTS = st.integers(_FIRST_MS, _LAST_MS) | st.sampled_from(_EDGES) | st.integers(-30_000, 30_000).map(_DAY_MS.__mul__)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "a": MOMENTS,
            "b": MOMENTS,
            "d": st.integers(_FIRST_MS // _DAY_MS, _LAST_MS // _DAY_MS).map(iso_date),
            "n": st.integers(-1300, 1300),
        }
    ),
    min_size=1,
    max_size=10,
)
_FIELDS = ("YEAR", "QUARTER", "MONTH", "WEEK", "ISOYEAR", "DAY", "DOY", "DOW", "ISODOW", "HOUR", "MINUTE", "SECOND")
_UNITS = ("SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
PAIRS: dict[str, str] = {
    **{f"EXTRACT({field} FROM a)": f"extract({field} FROM a)" for field in _FIELDS},
    **{f"EXTRACT({field} FROM d)": f"extract({field} FROM d)" for field in _FIELDS[:9]},
    "EXTRACT(MILLISECOND FROM a)": "extract(millisecond FROM a)",
    "EPOCH(a)": "CAST(floor(epoch(a)) AS BIGINT)",
    **{f"DATE_TRUNC('{unit}', a)": f"epoch_ms(CAST(date_trunc('{unit}', a) AS TIMESTAMP))" for unit in _UNITS},
    **{
        f"CEIL(a TO {unit})": f"epoch_ms(CASE WHEN date_trunc('{unit}', a) = a THEN a ELSE "
        f"CAST(date_trunc('{unit}', a) + INTERVAL '1 {unit}' AS TIMESTAMP) END)"
        for unit in _UNITS
    },
    **{f"TIMESTAMPDIFF({unit}, a, b)": f"date_sub('{unit}', a, b)" for unit in _UNITS},
    "a + n * INTERVAL '1' MONTH": "epoch_ms(a + to_months(n))",
    "a - n / 20 * INTERVAL '1' YEAR": "epoch_ms(a - to_years(n // 20))",
    "TIMESTAMPADD(QUARTERS, n, a)": "epoch_ms(a + to_months(3 * n))",
    "CAST(d + INTERVAL '1' MONTH AS DATE)": "CAST(CAST(d + INTERVAL '1' MONTH AS DATE) AS VARCHAR)",
    "DATEADD(DAY, n, d)": "CAST(d + CAST(n AS INTEGER) AS VARCHAR)",
    "a + n * INTERVAL '90 minutes'": "epoch_ms(a + to_minutes(90 * n))",
    "EPOCH(a - b)": "(epoch_ms(a) - epoch_ms(b)) / 1000",
    "d - CAST(a AS DATE)": "d - CAST(a AS DATE)",
    "EPOCH(CAST(a AS TIME) - TIME '00:00:00')": "epoch(CAST(a AS TIME))",
    "TIME_BUCKET(INTERVAL '7' HOUR, a)": "epoch_ms(time_bucket(INTERVAL '7' HOUR, a))",
    "TIME_BUCKET(INTERVAL '2' WEEK, a)": "epoch_ms(time_bucket(INTERVAL '2' WEEK, a))",
    "TIME_BUCKET(INTERVAL '5' MONTH, a)": "epoch_ms(time_bucket(INTERVAL '5' MONTH, a))",
    "TIME_BUCKET(INTERVAL '7' HOUR, a, b)": "epoch_ms(time_bucket(INTERVAL '7' HOUR, a, b))",
    "DATE_FORMAT(a, 'yyyy-MM-dd HH:mm:ss.SSS')": "strftime(a, '%Y-%m-%d %H:%M:%S.%g')",
    "DATE_FORMAT(a, 'EEE, d MMM yy h:m a')": "strftime(a, '%a, %-d %b %y %-I:%-M %p')",
    "TO_CHAR(a, 'FMDay DD FMMonth YYYY HH12:MI:SS AM DDD')": "strftime(a, '%A %d %B %Y %I:%M:%S %p %j')",
    "PARSE_TIMESTAMP(DATE_FORMAT(a, 'D yyyy HH:mm:ss.SSS'), 'D yyyy HH:mm:ss.SSS')": "epoch_ms(a)",
}
"""Expressions over a and b TIMESTAMP, d DATE, n BIGINT: Headrace's and DuckDB's."""


@cache
def _app() -> App:
    items = ", ".join(f"{sql} AS c{number}" for number, sql in enumerate(PAIRS))
    return App(f"CREATE STREAM t (a TIMESTAMP, b TIMESTAMP, d DATE, n BIGINT);\nSELECT {items} FROM t;")


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("CREATE TABLE t (a TIMESTAMP, b TIMESTAMP, d DATE, n BIGINT)")
    return connection


@given(ROWS)
def test_times_are_as_in_duckdb(connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]) -> None:
    connection.execute("DELETE FROM t")
    slots = ", ".join(["(epoch_ms(?), epoch_ms(?), ?, ?)"] * len(rows))
    values = [row[name] for row in rows for name in ("a", "b", "d", "n")]
    connection.execute(f"INSERT INTO t VALUES {slots}", values)
    expected = connection.execute(f"SELECT {', '.join(PAIRS.values())} FROM t ORDER BY rowid").fetchall()
    result = _app().local(inputs={"t": rows}, partitions=1)
    assert not result.dead_letters
    for row, record, wanted in zip(rows, result.records, expected, strict=True):
        found = json.loads(record.raw_value or b"").values()
        for sql, ours, theirs in zip(PAIRS, found, wanted, strict=True):
            assert ours == theirs, (sql, row)


# Intervals


@given(st.integers(-(10**14), 10**14))
def test_text_of_interval_is_read_back(milliseconds: int) -> None:
    assert intervals.parse(times.text_of_interval(milliseconds)) == (0, milliseconds)


@given(st.integers(-(10**5), 10**5).filter(bool))
def test_text_of_months_is_read_back(months: int) -> None:
    assert intervals.parse(times.text_of_months(months)) == (months, 0)


# Time zones

ZONES = st.sampled_from(
    (
        *("UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo"),
        *("Africa/Monrovia", "Pacific/Apia", "Europe/Dublin", "Asia/Tokyo", "Antarctica/Troll"),
    )
)
_CHANGES = [  # around changes of clocks in Paris, New York, Lord Howe, and the day that Apia skipped
    datetime(2021, 3, 28, 1, tzinfo=UTC),
    datetime(2021, 10, 31, 1, tzinfo=UTC),
    datetime(2021, 11, 7, 6, tzinfo=UTC),
    datetime(2021, 10, 2, 15, 30, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
]
NEAR_CHANGES = st.builds(
    lambda change, minutes: (change - _EPOCH) // timedelta(milliseconds=1) + minutes * 60_000,
    st.sampled_from(_CHANGES),
    st.integers(-3000, 3000),
)


def _wall(milliseconds: int, zone: str) -> int:
    local = (_EPOCH + timedelta(milliseconds=milliseconds)).astimezone(ZoneInfo(zone))
    return (local.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


@settings(max_examples=EXAMPLES * 4)
@given(MOMENTS | NEAR_CHANGES, ZONES)
def test_clocks_of_a_zone_show_what_zoneinfo_says(milliseconds: int, zone: str) -> None:
    assert times.to_zone(milliseconds, zone) == _wall(milliseconds, zone)


@settings(max_examples=EXAMPLES * 4)
@given(MOMENTS | NEAR_CHANGES, ZONES)
def test_moment_at_which_clocks_of_a_zone_show_a_time(shown: int, zone: str) -> None:
    """The last one; where clocks skip the time, the one at which they would have shown it."""
    around = range(shown - 2 * _DAY_MS, shown + 2 * _DAY_MS, 21_600_000)
    offsets = {_wall(moment, zone) - moment for moment in around}
    moments = [shown - offset for offset in offsets if _wall(shown - offset, zone) == shown]
    before = _wall(shown - 2 * _DAY_MS, zone) - (shown - 2 * _DAY_MS)
    assert times.from_zone(shown, zone) == (max(moments) if moments else shown - before)

"""Whole queries against DuckDB: the same rows, the same bad records, the same bad result rows, in both modes.

Decided differences, so written by the generator: integers divide by `//` there; AVG of DECIMAL is exact here; SUM of
BIGINT is an error of the result row here beyond 64 bits. What DuckDB cannot type (a DECIMAL of more than 38 digits)
is not compared. Of each mode the long form draws 2,000 lists of some queries: together more than 10,000.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from tests.property.expressions import COLUMNS, VALUES
from tests.property.queries import SOURCE, TABLE, GroupStep, Query, query_lists

from headrace.app.application import App
from headrace.app.local import LocalResult

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (DuckDB's TIMESTAMP has no zone either)
Row = dict[str, Any]
_TIMES = st.sampled_from((-2_500, -300, 0, 0, 300, 500, 700, 1_000, 1_499, 2_000, 4_700, 60_000, 86_399_999))


def _rows() -> st.SearchStrategy[list[Row]]:
    columns = {name: st.none() | st.sampled_from(values) | st.sampled_from(values) for name, values in VALUES.items()}
    return st.lists(st.fixed_dictionaries({**columns, "moment": _TIMES, "part": st.integers(0, 1)}), max_size=12)


@dataclass
class Found:
    """What a query gave: rows, the ids of bad records, how many result rows were bad."""

    rows: list[Row]
    bad: Counter[int]
    bad_results: int


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("PRAGMA disable_optimizer")
    return connection


def ours(queries: Sequence[Query], rows: Sequence[Row], mode: str) -> dict[str, Found]:
    app = App("\n".join((SOURCE, *(query.sql() for query in queries))))
    records = [{"topic": "t", "partition": row["part"], "value": {"id": n, **_json(row)}} for n, row in enumerate(rows)]
    result = app.local(records=records, mode=mode, partitions=2, parallelism=2)
    offsets: list[list[int]] = [[], []]
    for number, row in enumerate(rows):
        offsets[row["part"]].append(number)
    found = {query.sink: Found(_contents(query, result), Counter(), 0) for query in queries}
    for letter in result.dead_letters:
        sink = letter.query.partition("_")[0]
        if letter.offset is None or letter.partition is None:
            found[sink].bad_results += 1
        else:
            found[sink].bad[offsets[letter.partition][letter.offset]] = 1
    return found


def _contents(query: Query, result: LocalResult) -> list[Row]:
    """All rows of a stream, the last row of each key of a table."""
    records = [record for record in result.records if record.sink == query.sink]
    if isinstance(query.last, GroupStep):
        records = list({record.raw_key: record for record in records}.values())
    return [json.loads(r.raw_value, parse_float=Decimal) for r in records if r.raw_value is not None]


def _json(row: Row) -> Row:
    return {name: v.isoformat() if isinstance(v, date) else v for name, v in row.items() if name != "part"}


def theirs(connection: duckdb.DuckDBPyConnection, query: Query) -> Found | None:
    """What DuckDB computes; None where it has no type for it."""
    try:
        for statement in query.duckdb():
            connection.execute(statement)
    except (duckdb.BinderException, duckdb.OutOfRangeException, duckdb.ConversionException) as error:
        if "DECIMAL" in str(error):
            return None
        raise
    names = query.last.names if isinstance(query.last, GroupStep) else query.last.columns
    rows = connection.execute(f"SELECT {', '.join(names)} FROM result").fetchall()
    bad = connection.execute("SELECT id FROM failed").fetchall()
    groups = connection.execute("SELECT DISTINCT g FROM failed_groups").fetchall()
    values = [dict(zip(names, map(_comparable, row), strict=True)) for row in rows]
    ids = {id_ for (id_,) in bad}
    below = sum(id_ < 0 for id_ in ids)  # result rows of a query below, bad for the one that reads them
    return Found(values, Counter(id_ for id_ in ids if id_ >= 0), len(groups) + below)


def _comparable(value: Any) -> Any:
    """A value of DuckDB as it stands in our JSON."""
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(milliseconds=1)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):  # a mean of DECIMAL, as sum and count
        total, count = value
        return None if not count else (Decimal(total) / Decimal(count)).quantize(Decimal("1e-6"), ROUND_HALF_UP)
    return value


def fill(connection: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> None:
    connection.execute(TABLE)
    if rows:
        time = "make_timestamp(CAST(? AS BIGINT) * 1000)"
        slots = ", ".join([f"(?, ?, ?, ?, ?, ?, ?, ?, {time}, {time}, ?)"] * len(rows))
        values = [v for n, row in enumerate(rows) for v in (n, *(row[name] for name in (*COLUMNS, "moment", "part")))]
        connection.execute(f"INSERT INTO t VALUES {slots}", values)


def same_rows(left: Sequence[Row], right: Sequence[Row]) -> bool:
    """The same rows in any order, DOUBLE to nine digits."""
    if len(left) != len(right):
        return False
    waiting = list(right)
    for row in left:
        match = next((n for n, other in enumerate(waiting) if _same_row(row, other)), None)
        if match is None:
            return False
        del waiting[match]
    return True


def _same_row(left: Row, right: Row) -> bool:
    return left.keys() == right.keys() and all(_same(left[name], right[name]) for name in left)


def _same(ours_: Any, theirs_: Any) -> bool:
    if isinstance(ours_, bool) or isinstance(theirs_, bool) or ours_ is None or theirs_ is None:
        return ours_ is theirs_
    if isinstance(theirs_, float) and isinstance(ours_, (int, Decimal)):
        return math.isclose(float(ours_), theirs_, rel_tol=1e-9, abs_tol=1e-9)
    return bool(ours_ == theirs_)


def difference(query: Query, rows: Sequence[Row], mode: str, mine: Found, other: Found) -> str | None:
    """A text to paste that shows where both differ; None where they do not."""
    if same_rows(mine.rows, other.rows) and mine.bad == other.bad and mine.bad_results == other.bad_results:
        return None
    statements = [TABLE, *(f"INSERT INTO t VALUES {_values(n, row)}" for n, row in enumerate(rows)), *query.duckdb()]
    records = [json.dumps({"id": n, **_json(row)}, default=str, ensure_ascii=False) for n, row in enumerate(rows)]
    return "\n".join(
        (
            f"-- Headrace, mode {mode}",
            SOURCE,
            query.sql(),
            "-- rows, by partition: " + ", ".join(str(row["part"]) for row in rows),
            *records,
            "-- DuckDB",
            *(f"{statement};" for statement in statements),
            "FROM result;",
            f"-- Headrace gave: {len(mine.rows)} rows, bad records {sorted(mine.bad)}, bad results {mine.bad_results}",
            *map(str, mine.rows),
            f"-- DuckDB gave: {len(other.rows)} rows, bad records {sorted(other.bad)}, bad results {other.bad_results}",
            *map(str, other.rows),
        )
    )


def _values(number: int, row: Row) -> str:
    def literal(name: str, value: Any) -> str:
        if value is None:
            return "NULL"
        if name in ("ts", "moment"):
            return f"make_timestamp({value} * 1000)"
        return "'" + str(value).replace("'", "''") + "'" if isinstance(value, (str, date)) else str(value)

    return f"({number}, {', '.join(literal(name, row[name]) for name in (*COLUMNS, 'moment', 'part'))})"


@pytest.mark.parametrize("mode", ["single", "partitioned"])
@given(queries=query_lists(), rows=_rows())
def test_queries_give_what_duckdb_computes(
    connection: duckdb.DuckDBPyConnection, mode: str, queries: list[Query], rows: list[Row]
) -> None:
    fill(connection, rows)
    found = ours(queries, rows, mode)
    for query in queries:
        computed = theirs(connection, query)
        if computed is None:
            event("DuckDB has no such DECIMAL")
            continue
        shown = difference(query, rows, mode, found[query.sink], computed)
        assert shown is None, f"Headrace and DuckDB differ\n{shown}"
        event(f"{type(query.last).__name__} behind {len(query.steps) - 1} steps")

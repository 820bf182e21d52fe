"""Expressions against DuckDB, row by row: the same value, or an error in both.

Legitimate differences:
- `/` of integers is DuckDB's `//`; x / 0.0 is infinite there, SQRT and LN outside of their domain no number:
  errors here (the generator writes them out).
- Where an operand decides alone (AND, OR, CASE, COALESCE, IN, BETWEEN), each may leave the others unevaluated.
- A NULL operand leaves the operands right of it unevaluated here; in DuckDB a constant NULL leaves all others out.
- CAST of a text to DATE takes a date alone; DuckDB also takes a time after it.
- CAST of a text to an integer takes whole numbers alone, as PostgreSQL does; DuckDB rounds '2.5' (written out).
- DECIMAL beyond 38 digits: DuckDB refuses the query, we round to what fits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.property.expressions import COLUMNS, DECLARED, EXPRESSIONS, ROWS, Expr

from headrace.app.application import App

FAILED = "an error"
UNKNOWN = "not to be compared"
EXAMPLES = settings().max_examples


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("PRAGMA disable_optimizer")
    connection.execute(f"CREATE TABLE t ({DECLARED})")
    return connection


def ours(expressions: Sequence[Expr], rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Values of each expression over the rows, FAILED where the row became a dead letter."""
    queries = [f"CREATE STREAM e{n} AS SELECT id, {e.sql} AS v FROM t;" for n, e in enumerate(expressions)]
    app = App(f"CREATE STREAM t ({DECLARED});" + "".join(queries))
    records = [{"topic": "t", "partition": 0, "value": {"id": n, **_json(row)}} for n, row in enumerate(rows)]
    result = app.local(records=records, mode="single", partitions=1)
    values: list[list[Any]] = [[FAILED] * len(rows) for _ in expressions]
    for record in result.records:
        assert record.raw_value is not None
        row = json.loads(record.raw_value, parse_float=Decimal)
        values[int(record.sink[1:])][row["id"]] = row["v"]
    failed = {(letter.query, letter.offset) for letter in result.dead_letters}
    assert len(failed) == sum(values_of.count(FAILED) for values_of in values)
    return values


def _json(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()}


def theirs(connection: duckdb.DuckDBPyConnection, expression: Expr, rows: Sequence[dict[str, Any]]) -> list[Any]:
    """What DuckDB computes; FAILED where it raises for the row, UNKNOWN where it refuses the expression."""
    try:
        found = connection.execute(f"SELECT {expression.duckdb} FROM t ORDER BY id").fetchall()
        return [_comparable(value) for (value,) in found]
    except (duckdb.BinderException, duckdb.ParserException) as error:
        if "DECIMAL" in str(error):
            return [UNKNOWN] * len(rows)
        raise
    except duckdb.Error:
        return [_row_by_row(connection, expression, number) for number in range(len(rows))]


def _row_by_row(connection: duckdb.DuckDBPyConnection, expression: Expr, number: int) -> Any:
    try:
        ((value,),) = connection.execute(
            f"SELECT {expression.duckdb} FROM (SELECT * FROM t WHERE id = {number}) AS t"
        ).fetchall()
    except duckdb.Error:
        return FAILED
    return _comparable(value)


def _comparable(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value - datetime(1970, 1, 1)) // (datetime(1970, 1, 1, 0, 0, 0, 1000) - datetime(1970, 1, 1))  # noqa: DTZ001
    if isinstance(value, date):
        return value.isoformat()
    return value


def _fill(connection: duckdb.DuckDBPyConnection, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute("DELETE FROM t")
    slots = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, make_timestamp(CAST(? AS BIGINT) * 1000))"] * len(rows))
    values = [value for number, row in enumerate(rows) for value in (number, *(row[name] for name in COLUMNS))]
    connection.execute(f"INSERT INTO t VALUES {slots}", values)


def same(ours_: Any, theirs_: Any) -> bool:
    if isinstance(theirs_, float) and isinstance(ours_, (int, Decimal)) and not isinstance(ours_, bool):
        return math.isclose(float(ours_), theirs_, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(theirs_, bool) or isinstance(ours_, bool):
        return ours_ is theirs_
    return bool(ours_ == theirs_)


def assert_same(expression: Expr, row: dict[str, Any], ours_: Any, theirs_: Any) -> None:
    if theirs_ is UNKNOWN:
        event("DuckDB has no such DECIMAL")
    elif (ours_ is FAILED) != (theirs_ is FAILED):
        allowed = expression.skips or expression.shields
        assert allowed, (expression, row, ours_, theirs_)
        event("one of both left the failing operand out")
    else:
        assert same(ours_, theirs_), (expression, row, ours_, theirs_)


@settings(max_examples=EXAMPLES * 4)
@given(expressions=st.lists(EXPRESSIONS, min_size=1, max_size=4), rows=ROWS)
def test_expression_has_the_value_that_duckdb_computes(
    connection: duckdb.DuckDBPyConnection, expressions: list[Expr], rows: list[dict[str, Any]]
) -> None:
    _fill(connection, rows)
    found = ours(expressions, rows)
    for expression, values in zip(expressions, found, strict=True):
        for row, our_value, their_value in zip(rows, values, theirs(connection, expression, rows), strict=True):
            assert_same(expression, row, our_value, their_value)


@given(expression=EXPRESSIONS.filter(lambda e: e.kind == "bool"), rows=ROWS)
def test_filter_keeps_the_rows_for_which_the_condition_is_true(
    connection: duckdb.DuckDBPyConnection, expression: Expr, rows: list[dict[str, Any]]
) -> None:
    (values,) = ours([expression], rows)
    app = App(f"CREATE STREAM t ({DECLARED}); CREATE STREAM kept AS SELECT id FROM t WHERE {expression.sql};")
    records = [{"topic": "t", "partition": 0, "value": {"id": n, **_json(row)}} for n, row in enumerate(rows)]
    result = app.local(records=records, mode="single", partitions=1)
    kept = {record.value["id"] for record in result.records if record.value is not None}
    failed = {letter.offset for letter in result.dead_letters}
    for number, value in enumerate(values):
        if value is not FAILED and number not in failed:
            assert (number in kept) == (value is True), (expression, rows[number])
        elif not expression.skips and not expression.shields:
            assert number in failed
            assert value is FAILED

"""INSERT INTO … VALUES: records that are part of an app's text, for finite runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace import App
from headrace.app.cli import run_command
from headrace.app.local import LocalResult

TRADES = "CREATE STREAM trades (symbol VARCHAR KEY, price DECIMAL(10, 2), at TIMESTAMP, day DATE, n BIGINT);\n"
ROWS = TRADES + "SELECT * FROM trades;\n"


def values(result: LocalResult) -> list[Any]:
    return [record.raw_value.decode() if record.raw_value is not None else None for record in result.records]


@pytest.mark.parametrize("mode", ["single", "partitioned"])
def test_values_are_records_in_the_order_written_before_the_inputs(mode: str) -> None:
    app = App(
        ROWS
        + "INSERT INTO trades (symbol, n) VALUES ('b', 1), ('a', 2);\n"
        + "INSERT INTO trades (n, symbol) VALUES (3, 'b');\n"
    )
    result = app.local({"trades": [{"symbol": "c", "n": 4}]}, mode=mode, partitions=1)
    assert [record.value["n"] for record in result.records if record.value is not None] == [1, 2, 3, 4]
    assert result.counts.read == 4


def test_values_are_converted_to_the_types_of_the_columns() -> None:
    app = App(ROWS + "INSERT INTO trades VALUES (UPPER('acme') || 1, '1.5', '2026-01-01', '2026-01-02', 2 * 3);\n")
    assert values(app.local()) == ['{"symbol":"ACME1","price":1.50,"at":1767225600000,"day":"2026-01-02","n":6}']


def test_columns_that_are_not_named_are_null() -> None:
    app = App(ROWS + "INSERT INTO trades (n) VALUES (1);\n")
    assert values(app.local()) == ['{"symbol":null,"price":null,"at":null,"day":null,"n":1}']


def test_declared_column_named_as_the_time_of_records_is_a_column() -> None:
    app = App(
        'CREATE STREAM t ("ROWTIME" TIMESTAMP NOT NULL, n INT);\n'
        'INSERT INTO t ("ROWTIME", n) VALUES (5000, 1);\n'
        'SELECT "ROWTIME", _timestamp AS at FROM t;\n'
    )
    assert values(app.local()) == ['{"ROWTIME":5000,"at":0}']


def test_key_columns_make_the_record_key_and_rowtime_its_timestamp() -> None:
    app = App(
        ROWS
        + "INSERT INTO trades (rowtime, symbol) VALUES (1000, 'a'), ('1970-01-01T00:00:02Z', 'b');\n"
        + "INSERT INTO trades (_timestamp, symbol) VALUES (3000, 'c');\n"
        + "INSERT INTO trades (symbol) VALUES ('d');\n"
    )
    records = app.local(partitions=1).records
    assert [(record.raw_key, record.timestamp) for record in records] == [
        (b"a", 1000),
        (b"b", 2000),
        (b"c", 3000),
        (b"d", 0),
    ]


def test_column_called_rowtime_is_a_column() -> None:
    app = App("CREATE STREAM s (rowtime BIGINT); SELECT rowtime FROM s; INSERT INTO s (ROWTIME) VALUES (5);")
    (record,) = app.local().records
    assert (record.value, record.timestamp) == ({"rowtime": 5}, 0)


def test_bad_inserted_record_is_a_dead_letter_with_its_line() -> None:
    app = App(TRADES + "SELECT 1 / n AS x FROM trades;\nINSERT INTO trades (n) VALUES (1),\n (0);\n", file="app.sql")
    (letter,) = app.local().dead_letters
    assert (letter.message, letter.origin) == ("division by zero", "app.sql:4")


def test_insert_into_what_only_explain_reads_is_left_out() -> None:
    app = App(
        ROWS + "CREATE STREAM other (a INT); EXPLAIN SELECT a FROM other; INSERT INTO other VALUES (1);"
        "INSERT INTO trades (n) VALUES (1);"
    )
    assert app.local().counts.read == 1


def test_check_shows_inserts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("app.sql").write_text(ROWS + "INSERT INTO trades (n) VALUES (1), (2);\n")
    assert run_command(["check", "app.sql"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  app.sql:3: inserts 2 into trades"


def test_run_refuses_inserts_and_says_where_they_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("app.sql").write_text(
        TRADES + "CREATE STREAM s AS SELECT n FROM trades;\nINSERT INTO trades (n) VALUES (1);\n"
    )
    assert run_command(["run", "app.sql"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: app.sql:3: INSERT INTO … VALUES would write its records again at every start",
        "  hint: write them once with `headrace produce`, or test the app with them: `headrace test`, `headrace local`",
    ]

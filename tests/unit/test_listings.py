"""SHOW, DESCRIBE, and the statements that take others back: what an app is after its text has been read."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace import App
from headrace.app.cli import run_command
from headrace.sql.explain import show_listings

TRADES = """CREATE STREAM trades (symbol VARCHAR KEY, price DOUBLE NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH (partitions = 3);
"""
APP = f"""{TRADES}
CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR);
CREATE VIEW prices AS SELECT price FROM trades;
CREATE TABLE counts WITH (topic = 'of-symbols', partitions = 2) AS
SELECT symbol AS name, COUNT(*) AS n FROM trades GROUP BY symbol;
"""


def shown(statement: str) -> list[str]:
    return show_listings(App(APP + statement).logical.listings).splitlines()


def test_show_lists_relations_with_their_topics() -> None:
    assert shown("SHOW STREAMS; LIST TABLES; SHOW VIEWS") == [
        "Streams",
        "  name    topic   is",
        "  trades  trades  declared",
        "",
        "Tables",
        "  name    topic       is",
        "  users   users       declared",
        "  counts  of-symbols  made by a query",
        "",
        "Views",
        "  name",
        "  prices",
    ]


def test_show_lists_queries_and_topics() -> None:
    assert shown("SHOW QUERIES; SHOW TOPICS") == [
        "Queries",
        "  name    reads   writes",
        "  counts  trades  TABLE of-symbols",
        "",
        "Topics",
        "  topic       partitions  is",
        "  trades      3           source",
        "  users                   source",
        "  of-symbols  2           sink",
    ]


def test_describe_tells_columns_keys_and_the_event_time() -> None:
    assert shown("DESCRIBE trades; DESCRIBE counts; DESCRIBE users") == [
        "Stream trades, topic trades",
        "  column  type       is",
        "  symbol  VARCHAR    key",
        "  price   DOUBLE     NOT NULL",
        "  ts      TIMESTAMP  NOT NULL, event time, delay 5000 ms",
        "",
        "Table counts, topic of-symbols",
        "  column  type     is",
        "  name    VARCHAR  key",
        "  n       BIGINT   NOT NULL",
        "",
        "Table users, topic users",
        "  column  type     is",
        "  id      INT      key",
        "  name    VARCHAR",
    ]


def test_show_tells_of_the_statements_above_it() -> None:
    (before, after) = App("SHOW STREAMS;" + TRADES + "SHOW STREAMS;").logical.listings
    assert not before.rows
    assert [row[0] for row in after.rows] == ["trades"]


def test_check_prints_what_show_asks_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "app.sql"
    file.write_text(APP + "DESCRIBE prices;", encoding="utf-8")
    assert run_command(["check", str(file)]) == 0
    assert "View prices\n  column  type    is\n  price   DOUBLE  NOT NULL\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statements", "names"),
    [
        ("CREATE STREAM a AS SELECT price FROM trades; DROP STREAM a;", []),
        ("CREATE STREAM a AS SELECT price FROM trades; CREATE STREAM b AS SELECT price FROM a; DROP STREAM b;", ["a"]),
        (
            "CREATE STREAM a AS SELECT ts FROM trades; CREATE VIEW v AS SELECT * FROM a; DROP VIEW v; DROP STREAM a",
            [],
        ),
        ("DROP STREAM IF EXISTS a; CREATE STREAM a AS SELECT symbol FROM trades;", ["a"]),
        (
            "CREATE STREAM a AS SELECT price FROM trades; CREATE OR REPLACE STREAM a AS SELECT symbol FROM trades;",
            ["a"],
        ),
    ],
)
def test_what_is_dropped_takes_its_query_along(statements: str, names: list[str]) -> None:
    plan = App(TRADES + statements).logical
    assert [query.name for query in plan.queries] == names


def test_replaced_query_is_the_new_one_and_if_not_exists_keeps_the_old() -> None:
    first, second = "AS SELECT price FROM trades;", "AS SELECT symbol FROM trades;"
    (replaced,) = App(f"{TRADES} CREATE STREAM a {first} CREATE OR REPLACE STREAM a {second}").logical.queries
    (kept,) = App(f"{TRADES} CREATE STREAM a {first} CREATE STREAM IF NOT EXISTS a {second}").logical.queries
    assert [column.name for column in replaced.node.columns] == ["symbol"]
    assert [column.name for column in kept.node.columns] == ["price"]

"""One app with a bit of everything, from its SQL text to its sinks on a real broker: as in memory, in every layout."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from tests.integration.sql_app import (
    Input,
    NewSqlApp,
    SqlApp,
    assert_same_stream,
    contents,
    differences,
    written_locally,
)

from headrace.app.local import LocalResult

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

ORDERS = """
CREATE STREAM orders (
  id BIGINT, customer VARCHAR, region VARCHAR, amount DECIMAL(12, 2), quantity BIGINT, at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '2' SECOND
) WITH (topic = '{name}-in', format = 'json');
"""
SQL = (
    ORDERS
    + """
CREATE STREAM large WITH (topic = '{name}-large', partitions = 3) AS
SELECT id, UPPER(region) AS region, amount * quantity AS total FROM orders WHERE quantity >= 5;

CREATE TABLE by_customer WITH (topic = '{name}-by-customer', partitions = 3, changes = 'every') AS
SELECT customer, COUNT(*) AS orders, SUM(quantity) AS quantity, MAX(amount) AS highest FROM orders
GROUP BY customer EMIT CHANGES;

CREATE TABLE odd_regions WITH (topic = '{name}-odd', changes = 'latest') AS
SELECT region, COUNT(*) AS orders, COUNT(DISTINCT customer) AS customers, SUM(amount) AS amount FROM orders
GROUP BY region HAVING COUNT(*) % 2 = 1 EMIT CHANGES;

CREATE TABLE windows WITH (topic = '{name}-windows') AS
SELECT region, window_start, COUNT(*) AS orders, SUM(amount) AS amount, LAST_VALUE(id) AS newest FROM orders
WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 1 SECOND) GROUP BY region EMIT FINAL;

CREATE TABLE busy WITH (topic = '{name}-busy') AS SELECT * FROM windows WHERE orders > 12;

CREATE TABLE overall WITH (topic = '{name}-overall', changes = 'latest') AS
SELECT orders % 3 AS class, COUNT(*) AS windows, SUM(amount) AS amount FROM windows GROUP BY orders % 3 EMIT CHANGES;

CREATE TABLE visits WITH (topic = '{name}-visits', changes = 'latest') AS
SELECT customer, COUNT(*) AS orders FROM orders WINDOW SESSION (1 SECOND) GROUP BY customer EMIT CHANGES;

CREATE STREAM moves WITH (topic = '{name}-moves') AS
SELECT region, id, amount - LAG(amount) OVER w AS move, ROW_NUMBER() OVER w AS number,
  SUM(quantity) OVER (w ROWS BETWEEN 4 PRECEDING AND CURRENT ROW) AS quantity_of_5
FROM orders WHERE region <> '' WINDOW w AS (PARTITION BY region ORDER BY at);

CREATE TABLE newest WITH (topic = '{name}-newest', changes = 'latest') AS
SELECT customer, id, amount FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY customer ORDER BY at DESC) AS number FROM orders WHERE customer IS NOT NULL)
WHERE number <= 2;
"""
)
WINDOWS = (
    ORDERS
    + """
CREATE TABLE hops WITH (topic = '{name}-hops') AS
SELECT region, window_start, COUNT(*) AS orders FROM orders
WINDOW HOPPING (SIZE 10 SECONDS, ADVANCE BY 4 SECONDS) GROUP BY region EMIT FINAL;

CREATE TABLE so_far WITH (topic = '{name}-so-far') AS
SELECT region, window_start, window_end, SUM(quantity) AS quantity FROM orders
WINDOW CUMULATE (5 SECONDS, 20 SECONDS) GROUP BY region EMIT FINAL;

CREATE TABLE days WITH (topic = '{name}-days') AS
SELECT customer, window_start, COUNT(*) AS orders, MIN(amount) AS lowest FROM orders
WINDOW TUMBLING (1 DAY, TIMEZONE 'Europe/Paris') GROUP BY customer EMIT EVERY INTERVAL '1' SECOND;
"""
)
TABLES = ("by-customer", "odd", "overall", "visits", "newest")
ONCE = ("large", "windows", "busy", "moves")
START_MS = 1_700_002_780_000
"""Twenty seconds before midnight in Paris."""


def orders(count: int, seed: int = 7, first: int = 0) -> list[Input]:
    """Orders in an order of time that is wrong now and then, some of them bad."""
    draw = random.Random(seed)
    records = []
    for number in range(first, first + count):
        at = START_MS + number * 20 - draw.choice((0, 0, 0, 500, 1_500, 2_900, 6_000, 15_000))
        columns = {
            "id": number,
            "customer": draw.choice((None, *(f"c{n}" for n in range(20)))),
            "region": draw.choice(("north", "south", "east", "wést", "")),
            "amount": f"{draw.randrange(100_000) / 100:.2f}",
            "quantity": draw.randrange(10) if draw.random() > 0.01 else "many",
            "at": at,
        }
        records.append(Input(draw.randrange(3), b"%d" % number, json.dumps(columns).encode(), START_MS + number))
    return records


def assert_as_in_memory(
    app: SqlApp, expected: LocalResult, tables: Sequence[str] = TABLES, once: Sequence[str] = ONCE
) -> None:
    """Every sink says the same: tables in their last values, streams and windows record by record."""
    for sink in tables:
        topic = f"{app.name}-{sink}"
        wrong = differences(contents(written_locally(expected, topic)), app.contents(topic))
        assert not wrong, (sink, wrong)
    for sink in once:
        topic = f"{app.name}-{sink}"
        assert_same_stream(written_locally(expected, topic), app.written(topic))
    names = ("query", "class", "partition", "offset")
    letters = Counter(tuple(h.get(f"headrace.error.{n}") for n in names) for _, _, h in app.dead_letters())
    local = Counter((d.query, d.kind, str(d.partition), str(d.offset)) for d in expected.dead_letters)
    assert letters == local


@pytest.mark.parametrize(
    "layout",
    [
        ("--mode", "partitioned", "--workers", "1"),
        ("--mode", "partitioned", "--workers", "2"),
        ("--mode", "partitioned", "--parallelism", "2"),
        ("--mode", "single", "--workers", "2"),
    ],
    ids=" ".join,
)
def test_finite_run_writes_what_the_app_writes_in_memory(new_sql_app: NewSqlApp, layout: tuple[str, ...]) -> None:
    app = new_sql_app(SQL)  # of its four partitions, one stays empty
    records = orders(4_000)
    app.produce(records)
    app.run_to_end(*layout)
    assert_as_in_memory(app, app.local(records))


@pytest.mark.parametrize("mode", ["partitioned", "single"])
def test_windows_of_other_kinds_are_as_in_memory(new_sql_app: NewSqlApp, mode: str) -> None:
    app = new_sql_app(WINDOWS)
    records = orders(4_000)
    app.produce(records)
    app.run_to_end("--mode", mode, "--workers", "2")
    assert_as_in_memory(app, app.local(records), tables=("days",), once=("hops", "so-far"))


def test_finite_run_started_again_has_nothing_to_do_and_ends_with_0(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL)
    records = orders(1_000)
    app.produce(records)
    app.run_to_end()
    app.run_to_end("--workers", "2")
    assert_as_in_memory(app, app.local(records))


def test_endless_run_then_finite_run_give_together_what_one_run_gives(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL)
    records = orders(4_000)
    run = app.run("--workers", "2")
    app.produce(records[:1_500])
    app.await_caught_up()
    assert run.stop() == 0, run.log()
    app.produce(records[1_500:3_000])
    run = app.run()
    app.await_caught_up()
    assert run.stop() == 0, run.log()
    app.produce(records[3_000:])
    app.run_to_end()
    assert_as_in_memory(app, app.local(records))

"""Functions of the user's own in an app on a real broker: each of its workers imports them by itself."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
from tests.integration.sql_app import (
    NewSqlApp,
    assert_same_stream,
    contents,
    differences,
    row,
    unique_name,
    written_locally,
)

from headrace.app.udfs import load_modules

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

DEADLINE_S = 120.0

SQL = """
CREATE STREAM orders (id BIGINT, customer VARCHAR, amount DECIMAL(12, 2)) WITH (topic = '{name}-in');

CREATE STREAM taxed WITH (topic = '{name}-taxed', partitions = 3) AS
SELECT id, WITH_TAX(amount) AS amount FROM orders WHERE amount IS NOT NULL;

CREATE TABLE by_initial WITH (topic = '{name}-by-initial', partitions = 3) AS
SELECT INITIAL(customer) AS initial, COUNT(*) AS orders, SUM(WITH_TAX(amount)) AS amount FROM orders
GROUP BY INITIAL(customer) EMIT CHANGES;

CREATE TABLE spans WITH (topic = '{name}-spans', changes = 'latest') AS
SELECT customer, SPAN(id) AS span, COUNT(*) AS orders FROM orders GROUP BY customer EMIT CHANGES;

CREATE TABLE products WITH (topic = '{name}-products', changes = 'latest') AS
SELECT customer, PRODUCT(id) AS product, JOINED(id) AS joined FROM orders GROUP BY customer EMIT CHANGES;
"""
FUNCTIONS = """
from decimal import Decimal
from typing import Annotated

import headrace

Money = Annotated[Decimal, "DECIMAL(12, 2)"]


@headrace.udf
def with_tax(amount: Money) -> Money:
    if amount > 900:
        raise ValueError(f"{amount} is too much")
    return amount * 119 / 100


@headrace.udaf
class Span:
    low: int | None = None
    high: int | None = None

    def update(self, x: int) -> None:
        self.low = x if self.low is None else min(self.low, x)
        self.high = x if self.high is None else max(self.high, x)

    def merge(self, other: "Span") -> None:
        self.update(other.low)
        self.update(other.high)

    def result(self) -> int:
        return self.high - self.low


@headrace.udaf
class Product:
    # a state beyond 64 bits, which is not merged

    product: int = 1

    def update(self, x: int) -> None:
        self.product *= 2 * x + 1

    def result(self) -> str:
        return str(self.product)[-20:]


@headrace.udaf(ordered=True)
class Joined:
    numbers: list[int]

    def __init__(self) -> None:
        self.numbers = []

    def update(self, x: int) -> None:
        self.numbers.append(x)

    def result(self) -> int:
        return sum(place * number for place, number in enumerate(self.numbers)) % 1_000_003


@headrace.udf
def initial(name: str) -> str | None:
    return name[:1] or None
"""


def test_every_worker_calls_the_functions_of_the_app(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL)
    module = unique_name("functions").replace("-", "_")
    file = app.directory / f"{module}.py"
    file.write_text(FUNCTIONS)
    app.udfs = load_modules([str(file)])
    names = ("ann", "bob", "", None, "ben")
    records = [
        row(number % 3, id=number, customer=names[number % 5], amount=f"{number % 1_000}.50") for number in range(3_000)
    ]
    run = app.run("--workers", "2", "--udf", file.name)
    app.produce(records[:1_500])
    app.await_caught_up(deadline_s=DEADLINE_S)
    assert run.stop() == 0, run.log()
    shutil.rmtree(app.state)  # the states come back from their changelogs
    app.produce(records[1_500:])
    run = app.run("--until-end", "--workers", "2", "--udf", module)
    assert run.exit_code(DEADLINE_S) == 0, run.log()

    expected = app.local(records)
    assert_same_stream(written_locally(expected, f"{app.name}-taxed"), app.written(f"{app.name}-taxed"))
    for table in ("by-initial", "spans", "products"):
        topic = f"{app.name}-{table}"
        locally = contents(written_locally(expected, topic))
        assert len(locally) >= 3
        assert not differences(locally, app.contents(topic)), table
    letters = Counter((h["headrace.error.class"], h["headrace.error.message"]) for _, _, h in app.dead_letters())
    assert letters == Counter((letter.kind, letter.message) for letter in expected.dead_letters)
    assert letters["udf", "WITH_TAX: ValueError: 901.50 is too much"] == 6


def test_module_that_is_not_there_ends_the_run_before_it_begins(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL)
    code, log = app.refused("--udf", "nowhere")
    assert (code, log.splitlines()[0]) == (2, "error: --udf nowhere: there is no such module")

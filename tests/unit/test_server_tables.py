"""What is answered of tables and streams whose records are not what they should be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from confluent_kafka import Message
from tests.unit.job_servers import Topic, serving, until

from headrace.app.errors import OutsideError
from headrace.app.server import table_api
from headrace.app.server.main import application
from headrace.app.server.server import JobServer
from headrace.app.server.views import Contents, Row, Views

SQL = """
CREATE STREAM s (k VARCHAR, a INT) WITH (topic = 's');
CREATE TABLE plain WITH (topic = 'plain') AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;
CREATE TABLE csv WITH (topic = 'csv', format = 'csv') AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;
"""


def holding(monkeypatch: pytest.MonkeyPatch, rows: Mapping[bytes | None, bytes]) -> None:
    """Every table holds these rows."""

    async def ask(_views: Views, _topic: str, question: Callable[[Contents], Any]) -> Any:
        return question(Contents({key: Row(value, 0) for key, value in rows.items()}, 0, 0))

    monkeypatch.setattr(Views, "ask", ask)


def asked(monkeypatch: pytest.MonkeyPatch, path: str) -> tuple[int, str]:
    """Status and body of an answer."""
    answers: list[tuple[int, str]] = []

    async def play(server: JobServer, topic: Topic) -> None:
        topic.put_job("a", sql=SQL)
        await until(lambda: server.jobs.get("a") is not None)
        async with TestClient(TestServer(application(server))) as client:
            response = await client.get(path)
            answers.append((response.status, await response.text()))

    serving(monkeypatch, play)
    return answers[0]


@pytest.mark.parametrize("path", ["/tables/csv", "/tables/csv/x"])
def test_a_table_whose_values_are_not_json_is_not_answered_but_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    holding(monkeypatch, {b"x": b"x,1"})
    status, body = asked(monkeypatch, path)
    assert (status, json.loads(body)["detail"]) == (422, "`csv` cannot be asked: its values are csv")


@pytest.mark.parametrize("path", ["/tables/plain", "/tables/plain/x"])
@pytest.mark.parametrize("value", [b"x,1", b'{"k":"\xff"}', b"", b"{} {}"])
def test_a_value_that_should_be_json_and_is_not_is_told(
    monkeypatch: pytest.MonkeyPatch, path: str, value: bytes
) -> None:
    holding(monkeypatch, {b"x": value})
    status, body = asked(monkeypatch, path)
    assert status == 422
    assert "a row cannot be read: its value is not JSON" in json.loads(body)["detail"]


def test_digits_of_a_row_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    holding(monkeypatch, {b"x": b'{"k":"x","n":1.000000000000000000010}'})
    status, body = asked(monkeypatch, "/tables/plain")
    assert status == 200
    assert '"n":1.000000000000000000010' in body


def test_a_stream_that_cannot_be_read_any_more_ends_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def listening(_settings: object, _topic: str) -> AsyncIterator[AsyncIterator[list[Message]]]:
        async def batches() -> AsyncIterator[list[Message]]:
            yield []
            raise OutsideError("topic s: Broker: Unknown topic or partition")

        yield batches()

    monkeypatch.setattr(table_api, "listening", listening)
    status, body = asked(monkeypatch, "/streams/s")
    assert status == 200
    assert body.split("\n\n") == [
        ": listening",
        ": still here",
        'event: error\ndata: "topic s: Broker: Unknown topic or partition"',
        "",
    ]

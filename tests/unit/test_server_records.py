"""Whatever stands in the topic of jobs, a server goes on; and it says what was wrong."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient, TestServer
from tests.unit.job_servers import SQL, Topic, serving, until

from headrace.app.server.compiled import CompiledJobs
from headrace.app.server.jobs import Job
from headrace.app.server.main import application
from headrace.app.server.server import JobServer

UNCOMMITTED = {"guarantee": "at_least_once", "kafka.isolation.level": "read_uncommitted"}


@pytest.mark.parametrize(
    ("name", "fields", "settings", "reason"),
    [
        ("a", {"settings": {"idle_timeout": "99999999999d"}}, {}, "the longest duration is"),
        ("a" * 91, {}, {}, "at most 90"),
        ("a" * 90, {"generation": 10**9}, {}, "app: use letters"),
        ("a", {"settings": {"guarantee": "exactly_once"}}, UNCOMMITTED, "exactly_once reads committed records only"),
    ],
)
def test_a_record_that_settings_do_not_allow_is_refused_and_the_server_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fields: dict[str, object],
    settings: dict[str, object],
    reason: str,
) -> None:
    async def play(server: JobServer, topic: Topic) -> None:
        bad = topic.put_job(name, **fields)
        topic.put_job("good")
        await until(lambda: server.jobs.get("good") is not None)
        assert reason in topic.refused()[bad]

    serving(monkeypatch, play, settings)


def test_the_longest_name_of_a_job_leaves_room_for_its_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(server: JobServer, topic: Topic) -> None:
        topic.put_job("a" * 90, generation=999_999_999)
        await until(lambda: server.jobs.get("a" * 90) is not None)

    serving(monkeypatch, play)


@pytest.mark.parametrize(
    ("fields", "settings"),
    [
        ({"settings": {"idle_timeout": "99999999999d"}}, {}),
        ({"name": "a" * 91}, {}),
        ({"settings": {"guarantee": "exactly_once"}}, UNCOMMITTED),
    ],
)
def test_a_deployment_that_settings_do_not_allow_is_answered_422(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], settings: dict[str, object]
) -> None:
    async def play(server: JobServer, topic: Topic) -> None:
        await until(lambda: server.is_caught_up)
        async with TestClient(TestServer(application(server))) as client:
            response = await client.post("/jobs", json={"name": "a", "sql": SQL, **fields})
            assert response.status == 422, await response.text()
        assert topic.entries_written == []

    serving(monkeypatch, play, settings)


class Breaks:
    """Of the jobs that are compiled those of one SQL text break the compiler."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._compile = CompiledJobs.compile
        monkeypatch.setattr(CompiledJobs, "compile", lambda apps, job: self(apps, job))

    async def __call__(self, apps: CompiledJobs, job: Job) -> object:
        if job.record.sql == "break":
            raise ZeroDivisionError("out of order")
        return await self._compile(apps, job)


def test_a_record_that_breaks_the_server_is_refused_as_an_internal_error_and_the_server_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Breaks(monkeypatch)

    async def play(server: JobServer, topic: Topic) -> None:
        await until(lambda: server.is_caught_up)
        topic.put_job("a")
        bad = topic.put_job("a", sql="break")
        topic.put_job("good")
        await until(lambda: server.jobs.get("good") is not None)
        assert topic.refused() == {bad: "internal error: ZeroDivisionError('out of order')"}
        # Compaction keeps the newest record of a name: it is a right one again.
        await until(lambda: len(topic.entries_written) == 4)
        assert topic.entries_written[-1].key == b"a"
        await until(lambda: server.job("a").version == 2)

    serving(monkeypatch, play)


def test_a_job_that_breaks_the_server_after_it_was_taken_is_not_written_anew_on_and_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def play(server: JobServer, topic: Topic) -> None:
        async def breaks(*_: object) -> None:
            raise ZeroDivisionError

        server._run = breaks  # type: ignore[method-assign]
        bad = topic.put_job("a")
        await until(lambda: bad in topic.refused())
        again = topic.put_job("a", workers=2)
        await until(lambda: again in topic.refused())
        assert len(topic.entries_written) == 2

    serving(monkeypatch, play)

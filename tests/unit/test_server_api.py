"""What is answered of a job that goes while it is asked for, or that does not go at once."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from tests.unit.job_servers import IdleRunner, Topic, serving, until

from headrace.app.errors import OutsideError
from headrace.app.server import server as servers
from headrace.app.server.jobs import Wanted
from headrace.app.server.main import application
from headrace.app.server.server import JobServer


def test_a_job_that_is_deleted_while_its_workers_are_asked_is_answered_404(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(server: JobServer, topic: Topic) -> None:
        topic.put_job("a")
        await until(lambda: server.jobs.get("a") is not None)

        async def status(_: IdleRunner) -> dict[int, dict[str, Any]]:
            topic.put(b"a", None)
            await until(lambda: "a" not in server.runners)
            return {}

        monkeypatch.setattr(IdleRunner, "status", status)
        async with TestClient(TestServer(application(server))) as client:
            assert (await client.get("/jobs/a")).status == 404

    serving(monkeypatch, play)


def test_a_job_that_is_deleted_while_it_is_changed_is_answered_404(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(server: JobServer, topic: Topic) -> None:
        topic.put_job("a")
        await until(lambda: server.jobs.get("a") is not None)
        change = server.change

        async def changed_and_deleted(name: str, **update: object) -> None:
            await change(name, **update)
            topic.put(b"a", None)
            await until(lambda: "a" not in server.runners)

        server.change = changed_and_deleted  # type: ignore[method-assign]
        async with TestClient(TestServer(application(server))) as client:
            assert (await client.post("/jobs/a/pause")).status == 404

    serving(monkeypatch, play)


def test_a_deletion_that_failed_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[Wanted] = []

    async def play(server: JobServer, topic: Topic) -> None:
        class Remains:
            def __init__(self, *_: object) -> None:
                pass

            async def delete(self, **_: object) -> None:
                wanted.append(server.job("a").record.wanted)
                if len(wanted) == 1:
                    raise OutsideError("Kafka is away")

        monkeypatch.setattr(servers, "Remains", Remains)
        topic.put_job("a")
        await until(lambda: server.jobs.get("a") is not None)
        async with TestClient(TestServer(application(server))) as client:
            assert (await client.delete("/jobs/a")).status == 503
            assert (await client.get("/jobs/a")).status == 200
            assert (await client.delete("/jobs/a")).status == 204
            assert (await client.get("/jobs/a")).status == 404
        # All is deleted while the job is there, and does not run.
        assert wanted == [Wanted.STOPPED] * 2

    serving(monkeypatch, play)


def test_a_job_that_is_started_again_while_it_is_deleted_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(server: JobServer, topic: Topic) -> None:
        class Remains:
            def __init__(self, *_: object) -> None:
                pass

            async def delete(self, **_: object) -> None:
                await server.change("a", wanted=Wanted.RUNNING)

        monkeypatch.setattr(servers, "Remains", Remains)
        topic.put_job("a")
        await until(lambda: server.jobs.get("a") is not None)
        async with TestClient(TestServer(application(server))) as client:
            assert (await client.delete("/jobs/a")).status == 409
            assert (await client.get("/jobs/a")).status == 200

    serving(monkeypatch, play)

"""A job server without Kafka and without workers: its topic is a list, and its runners do nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import Any

import pytest

from headrace.app.server import server as servers
from headrace.app.server.job_log import Entry
from headrace.app.server.jobs import Job
from headrace.app.server.runner import State
from headrace.app.server.server import JobServer
from headrace.app.settings_sources import settings_as_given

SQL = "CREATE STREAM s (a INT) WITH (topic = 's'); CREATE STREAM t WITH (topic = 't') AS SELECT a FROM s;"


class Topic:
    """The topic of jobs, and the events that were told."""

    def __init__(self) -> None:
        self.entries_written: list[Entry] = []
        self.events: list[dict[str, object]] = []
        self._written = asyncio.Event()

    def prepare(self) -> None:
        pass

    async def entries(self) -> AsyncGenerator[list[Entry]]:
        read = 0
        while True:
            self._written.clear()
            new = self.entries_written[read:]
            read += len(new)
            if new:
                yield new
            else:
                yield []
                await self._written.wait()

    async def write(self, name: str, value: bytes | None) -> int:
        return self.put(name.encode(), value)

    def put(self, key: bytes | None, value: bytes | None) -> int:
        """As any client may write it; the offset."""
        self.entries_written.append(Entry(len(self.entries_written), key, value))
        self._written.set()
        return len(self.entries_written) - 1

    def put_job(self, name: str, **fields: object) -> int:
        return self.put(name.encode(), json.dumps({"sql": SQL, **fields}).encode())

    def tell(self, job: str, event: str, **facts: object) -> None:
        self.events.append({"job": job, "event": event, **facts})

    async def close(self) -> None:
        pass

    def refused(self) -> dict[object, str]:
        """Reasons by offset."""
        return {each["offset"]: str(each["reason"]) for each in self.events if each["event"] == "refused"}


class IdleRunner:
    """Has no workers."""

    def __init__(self, *_: object) -> None:
        self.state = State.RUNNING
        self.reason = None
        self.restarts = 0
        self.job: Job | None = None

    def become(self, job: Job) -> None:
        self.job = job

    async def status(self) -> dict[int, dict[str, Any]]:
        return {}

    async def close(self) -> None:
        self.state = State.STOPPED

    async def stopped(self) -> None:
        pass


Play = Callable[[JobServer, Topic], Coroutine[Any, Any, None]]


def serving(monkeypatch: pytest.MonkeyPatch, play: Play, settings: Mapping[str, object] | None = None) -> None:
    """Have a server follow its topic while something is played."""

    async def all_of_it() -> None:
        topic = Topic()
        monkeypatch.setattr(servers, "JobLog", lambda _settings: topic)
        monkeypatch.setattr(servers, "Runner", IdleRunner)
        server = JobServer(settings_as_given(settings or {}))
        following = asyncio.create_task(server.run())
        playing = asyncio.create_task(play(server, topic))
        await asyncio.wait((following, playing), return_when=asyncio.FIRST_COMPLETED)
        for ended in (playing, following):
            if not ended.cancel():
                ended.result()  # a server that has ended by itself says why
        await server.close()

    asyncio.run(asyncio.wait_for(all_of_it(), 20.0))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (a server has no event for it)
        await asyncio.sleep(0.001)

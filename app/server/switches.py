"""The switch of a job to its rebuilt version, as one server does it: claimed by a record, done in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from headrace.app.application import App
from headrace.app.errors import OutsideError
from headrace.app.server.jobs import Conflict, Job, Jobs, changed
from headrace.app.server.transfer import Transfer, moves
from headrace.app.settings import Settings

log = structlog.get_logger(__name__)

CLAIM_S = 20.0
"""A server that has claimed a switch says so again long before; after this another one claims it."""
RENEW_S = 5.0
VERSIONS_AHEAD = 1_000
"""Of the record of a switch, so that it is the newest whatever servers write of the job meanwhile."""


class Switches:
    """What this server does of switches. `write` raises Conflict where the record is refused, and OutsideError."""

    def __init__(
        self,
        settings: Settings,
        server: str,
        jobs: Jobs,
        write: Callable[[str, bytes], Awaitable[None]],
        in_background: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """`server` names this server in claims; `in_background` runs what is done after an answer, to its end."""
        self._settings = settings
        self._server = server
        self._jobs = jobs
        self._write = write
        self._in_background = in_background

    def is_ours(self, job: Job) -> bool:
        """Whether this server has claimed the switch."""
        return job.record.switched_by == self._server

    async def claim(self, job: Job) -> None:
        """Write that this server switches, unless another one was faster; whoever did so before can end nothing."""
        # First: what a server that is gone has left open would keep everybody from reading the claim.
        await asyncio.to_thread(self._new_transfer, job)
        with suppress(Conflict):  # another server was faster, or the job has changed meanwhile
            await self._write(job.name, changed(job, switched_by=self._server).to_record())

    async def renew(self, name: str) -> None:
        """Write once more that this server switches, where it does."""
        known = self._jobs.get(name)
        if known is not None and self.is_ours(known):
            with suppress(Conflict):
                await self._write(name, changed(known).to_record())

    async def release(self, name: str) -> None:
        """Write that no server switches."""
        known = self._jobs.get(name)
        if known is not None:
            with suppress(Conflict):
                await self._write(name, changed(known, switched_by=None).to_record())

    async def switch(self, job: Job, apps: tuple[App, App]) -> None:
        """Bring the results of the new version into the sinks, and make it the only one.

        `apps` are those of the old version and of the new one.
        """
        old, new = apps
        planned = moves(job.app, new, old)
        transfer = await asyncio.to_thread(self._new_transfer, job)
        await self.renew(job.name)  # refused where another server has claimed it: that one ends this transfer
        renewing = asyncio.create_task(self._renew_regularly(job.name))
        has_moved = is_committing = False
        try:
            await asyncio.to_thread(transfer.move, planned)
            has_moved = True
            known = self._jobs.get(job.name)
            if known is None or not self.is_ours(known):
                raise OutsideError("another server switches by now")
            update = {"replaces": None, "switched_by": None, "version": known.version + VERSIONS_AHEAD}
            record = Job(job.name, known.record.model_copy(update=update)).to_record()
            is_committing = True
            await asyncio.to_thread(transfer.commit, self._settings.jobs_topic, job.name, record)
        except BaseException:
            transfer.stop()
            if has_moved and not is_committing:
                self._in_background(asyncio.to_thread(transfer.abort))
            raise
        finally:
            renewing.cancel()

    def _new_transfer(self, job: Job) -> Transfer:
        return Transfer(job.settings(self._settings), f"{job.name}-switch")

    async def _renew_regularly(self, name: str) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                await self.renew(name)
            except OutsideError as error:
                log.warning("a claim was not renewed", job=name, error=str(error))

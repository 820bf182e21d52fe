"""A job server: follows the topic of jobs, and keeps a runner for each job that is in it.

The topic is the truth. Whatever is written there is judged here, in its order, by every server alike; what this server
itself is asked to do is judged first, then written, and done when it comes back.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Collection, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog

from headrace.agents.errors import KafkaFailure
from headrace.app.application import App
from headrace.app.errors import HeadraceError, OutsideError
from headrace.app.server.compiled import CompiledJobs, written_topics
from headrace.app.server.job_log import Entry, JobLog
from headrace.app.server.jobs import (
    Conflict,
    Job,
    JobRecord,
    Jobs,
    NoSuchJob,
    Refused,
    ReplacedVersion,
    Wanted,
    changed,
    read_name,
    read_record,
)
from headrace.app.server.rebuild import Rebuild
from headrace.app.server.remains import Remains
from headrace.app.server.runner import Runner, State
from headrace.app.server.switches import Switches
from headrace.app.server.transfer import moves
from headrace.app.server.verdicts import Kind, Verdict
from headrace.app.settings import Settings

log = structlog.get_logger(__name__)

OUTCOMES_MAX = 1_000
APPLIED_S = 30.0
ENDING_S = 15.0
"""What goes on in the background when the server ends may take so long; the rest is left undone."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What came of a deployment, or would come of it."""

    job: Job
    verdict: Verdict


class JobServer:
    """Use from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.id = f"{os.uname().nodename}-{uuid4().hex[:8]}"
        self.jobs = Jobs()
        self.runners: dict[str, Runner] = {}
        """Who does the work of each job; where it is rebuilt, still the version before."""
        self.rebuilds: dict[str, Rebuild] = {}
        self._log = JobLog(settings)
        self._ending: set[asyncio.Task[None]] = set()
        """What goes on in the background, to its end."""
        self._apps = CompiledJobs(settings)
        self._switches = Switches(settings, self.id, self.jobs, self._write, self._in_background)
        self._outcomes: OrderedDict[int, Refused | None] = OrderedDict()
        """What became of the newest records of the topic, by offset."""
        self._applied = asyncio.Condition()
        self.is_caught_up = False
        """It knows all jobs that were in the topic when it was started."""
        self._is_closing = False

    # Life

    async def run(self) -> None:
        """Follow the topic until cancelled. Raises OutsideError and KafkaException where Kafka gives out."""
        await asyncio.to_thread(self._log.prepare)
        early: list[Entry] = []
        async with aclosing(self._log.entries()) as batches:
            async for entries in batches:
                if self.is_caught_up:
                    for entry in entries:
                        await self._apply(entry)
                elif entries:
                    early += entries
                else:
                    await self._begin(early)
                    self.is_caught_up = True
                    log.info("jobs are known", jobs=len(list(self.jobs)))

    async def close(self) -> None:
        """Have all workers drain and end. The jobs stay as they are wanted."""
        self._is_closing = True
        await asyncio.gather(*(rebuild.close() for rebuild in self.rebuilds.values()))
        runners = [*self.runners.values(), *(rebuild.runner for rebuild in self.rebuilds.values())]
        await asyncio.gather(*(runner.close() for runner in runners))
        if self._ending:
            await asyncio.wait(self._ending, timeout=ENDING_S)
        await self._log.close()

    async def _begin(self, entries: list[Entry]) -> None:
        """Take what the topic holds: of each job the newest record that is right."""
        by_key: dict[bytes | None, list[Entry]] = {}
        for entry in entries:
            by_key.setdefault(entry.key, []).append(entry)
        for same in by_key.values():
            for entry in reversed(same):
                if await self._apply(entry) is None:
                    break

    # The topic

    async def _apply(self, entry: Entry) -> Refused | None:
        """Do what a record says, or tell why not."""
        refusal: Refused | None = None
        try:
            await self._take(entry)
        except (Refused, HeadraceError) as error:
            refusal = error if isinstance(error, Refused) else Refused(str(error))
            await self._refuse(entry, refusal)
        except Exception as error:  # the edge: whoever may write to the topic must not be able to end all servers
            log.error("a record could not be applied", offset=entry.offset, exc_info=error)
            refusal = Refused(f"internal error: {error!r}")
            await self._refuse(entry, refusal)
        async with self._applied:
            self._outcomes[entry.offset] = refusal
            while len(self._outcomes) > OUTCOMES_MAX:
                self._outcomes.popitem(last=False)
            self._applied.notify_all()
        return refusal

    async def _take(self, entry: Entry) -> None:
        name = read_name(entry.key)
        if entry.value is None:
            await self._remove(name)
            return
        job = self.jobs.next(name, read_record(entry.value), entry.offset)
        if job is None:
            return
        before = self.jobs.get(name)
        app, verdict = await self._apps.judge(before, job)
        replaced = await self._replaced_app(job)
        if verdict.kind in (Kind.REBUILD, Kind.INCOMPATIBLE):
            raise Refused(_refusal(verdict))
        # All at once: who asks for the job finds all of it.
        self.jobs.put(job)
        self._apps.put(job, app)
        if name not in self.runners:
            self.runners[name] = Runner(self.settings, self._entered)
        if before is not None and _is_switch(before, job):
            self._tell(job, "switched")
        elif before is None or not _is_claim(before, job):
            self._tell(job, "accepted", verdict=verdict.kind)
        elif before.record.switched_by != job.record.switched_by:
            self._tell(job, "switching", by=job.record.switched_by)
        await self._run(job, replaced)

    async def _replaced_app(self, job: Job) -> App | None:
        if job.replaced is None:
            return None
        rebuild = self.rebuilds.get(job.name)
        if rebuild is not None and rebuild.job.record.replaces == job.record.replaces:
            return rebuild.apps[0]
        return await self._apps.compile(job.replaced)

    async def _run(self, job: Job, replaced: App | None) -> None:
        """Have the job's runner, or the two of a rebuild, do what the job is now."""
        rebuild = self.rebuilds.get(job.name)
        if rebuild is not None and (rebuild.generation != job.record.generation or replaced is None):
            del self.rebuilds[job.name]
            await rebuild.close()
            waiting = [each.waiting for each in moves(rebuild.job.app, *reversed(rebuild.apps))]
            if rebuild.generation == job.record.generation:
                leaving, self.runners[job.name] = self.runners[job.name], rebuild.runner
                rebuild.runner.follow({})
                remains = Remains(rebuild.apps[0], rebuild.replaced.settings(self.settings), waiting)
            else:
                leaving = rebuild.runner
                remains = Remains(rebuild.apps[1], rebuild.job.settings(self.settings), waiting)
            self._in_background(_retire(leaving, remains))
            rebuild = None
        if replaced is None:
            self.runners[job.name].become(job)
        elif rebuild is not None:
            rebuild.become(job, self._apps[job.name])
        else:
            apps = replaced, self._apps[job.name]
            self.rebuilds[job.name] = Rebuild(
                self._switches, self.settings, job, apps, self.runners[job.name], self._entered
            )

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _remove(self, name: str) -> None:
        job = self.jobs.remove(name)
        self._apps.remove(name)
        if job is None:
            return
        rebuild = self.rebuilds.pop(name, None)
        if rebuild is not None:
            await rebuild.close()
            self._in_background(rebuild.runner.close())
        self._in_background(self.runners.pop(name).close())
        self._tell(job, "deleted")

    async def _refuse(self, entry: Entry, error: Refused) -> None:
        name = (entry.key or b"").decode(errors="replace")
        self._log.tell(name, "refused", reason=str(error), offset=entry.offset, server=self.id)
        good = self.jobs.get(name)
        if good is None or _is_no_worse(entry, good):
            return
        try:
            # Compaction keeps the newest record of a name: it is to be one that every later server takes.
            await self._log.write(name, changed(good).to_record())
        except OutsideError as failure:
            log.warning("a refused record is the newest of its job", job=name, error=str(failure))

    def _entered(self, job: Job, state: State, reason: str | None) -> None:
        self._tell(job, state, **({} if reason is None else {"reason": reason}))

    def _tell(self, job: Job, event: str, **facts: object) -> None:
        generation = job.record.generation
        self._log.tell(job.name, event, version=job.version, generation=generation, server=self.id, **facts)

    # What this server is asked to do

    def known(self) -> Jobs:
        """The jobs. OutsideError before the topic has been read to its end, and when the server stops."""
        if self._is_closing:
            raise OutsideError("the server is stopping", "ask another one, or again in a moment")
        if not self.is_caught_up:
            raise OutsideError("the jobs are not read yet", "ask again in a moment")
        return self.jobs

    def job(self, name: str) -> Job:
        job = self.known().get(name)
        if job is None:
            raise NoSuchJob(f"there is no job {name!r}")
        return job

    def app(self, name: str) -> App:
        """The compiled app of a job."""
        self.job(name)
        return self._apps[name]

    def working_app(self, name: str) -> App:
        """The app of the version whose results stand in the sinks."""
        rebuild = self.rebuilds.get(name)
        return self.app(name) if rebuild is None else rebuild.apps[0]

    async def consider(self, name: str, record: JobRecord, *, rebuild: bool = False) -> Deployed:
        """What deploying would mean. Refused where it is wrong in itself; nothing is written."""
        before = self.known().get(name)
        if before is not None:
            _check_unswitched(before)
            old = before.record
            replaces = old.replaces
            if rebuild and replaces is None:
                replaces = ReplacedVersion(**dict(before.spec), generation=old.generation, version=before.version)
            kept: dict[str, object] = {"generation": old.generation + (1 if rebuild else 0), "replaces": replaces}
            kept |= {"restarts": old.restarts, "wanted": old.wanted, "version": before.version + 1}
            record = record.model_copy(update=kept)
        job = self.jobs.next(name, record)
        assert job is not None, "a version that was just made is a new one"
        _, verdict = await self._apps.judge(before, job)
        return Deployed(job, verdict)

    async def deploy(self, name: str, record: JobRecord, *, rebuild: bool = False) -> Deployed:
        """Deploy a job, or its next version. Raises Refused, Conflict by the verdict, and OutsideError."""
        deployed = await self.consider(name, record, rebuild=rebuild)
        if deployed.verdict.kind in (Kind.REBUILD, Kind.INCOMPATIBLE):
            raise Conflict(_refusal(deployed.verdict))
        await self._write(name, deployed.job.to_record())
        return deployed

    async def change(self, name: str, **update: object) -> None:
        """Write the next version of a job that differs in just this, and wait until it is done here."""
        known = self.job(name)
        _check_unswitched(known)
        await self._write(name, changed(known, **update).to_record())

    async def delete(self, name: str, topics: str) -> None:
        """Delete a job; `topics` that go with it: none, internal (and group offsets, local state), or all it writes.

        They go first, while the job is there and stopped: where that fails, it can be deleted once more. Raises
        NoSuchJob, Conflict where another job needs such a topic or it is started again meanwhile, and OutsideError.
        """
        job = self.job(name)
        _check_unswitched(job)
        remains = [] if topics == "none" else self._remains(job)
        if topics == "all":
            self._check_nobody_needs({topic for each in remains for topic in written_topics(each.app)}, name)
        if remains:
            await self._stop(job)
            for each in remains:
                await each.delete(with_sinks=topics == "all")
            if self.job(name).record.wanted is not Wanted.STOPPED:
                raise Conflict(f"job {name!r} was started again while it was deleted: delete it once more")
        await self._write(name, None)

    async def _stop(self, job: Job) -> None:
        """Returns when its workers on this server have ended: one has left its group before it has closed its state."""
        if job.record.wanted is not Wanted.STOPPED:
            await self.change(job.name, wanted=Wanted.STOPPED)
        self.job(job.name)  # unless it was deleted meanwhile
        rebuild = self.rebuilds.get(job.name)
        for runner in (self.runners[job.name], *([] if rebuild is None else [rebuild.runner])):
            await runner.stopped()

    def _check_nobody_needs(self, topics: Collection[str], name: str) -> None:
        apps = [*self._apps, *((other, rebuild.apps[0]) for other, rebuild in self.rebuilds.items())]
        for other, app in apps:
            if other != name and (needed := {*written_topics(app), *app.source_topics()}.intersection(topics)):
                raise Conflict(f"job {other!r} uses topic {min(needed)} too: delete that job first, or keep the topics")

    async def _write(self, name: str, value: bytes | None) -> None:
        offset = await self._log.write(name, value)
        async with self._applied:
            try:
                await asyncio.wait_for(self._applied.wait_for(lambda: offset in self._outcomes), APPLIED_S)
            except TimeoutError:
                raise OutsideError("the record was written, but this server does not read it") from None
        refusal = self._outcomes[offset]
        if refusal is not None:
            raise Conflict(str(refusal))

    def _remains(self, job: Job) -> list[Remains]:
        """Of the job's version, and of the one that it replaces."""
        app, settings = self.app(job.name), job.settings(self.settings)
        rebuild = self.rebuilds.get(job.name)
        if rebuild is None:
            return [Remains(app, settings)]
        waiting = [each.waiting for each in moves(job.app, *reversed(rebuild.apps))]
        return [Remains(app, settings, waiting), Remains(rebuild.apps[0], rebuild.replaced.settings(self.settings))]


async def _retire(runner: Runner, remains: Remains) -> None:
    """Have workers end, and delete what only they needed. What stays in spite of that takes room, and is told."""
    await runner.close()
    try:
        await remains.delete(with_sinks=False)
    except (OutsideError, KafkaFailure) as error:
        log.warning("what a version has left stays", app=remains.app.name, error=str(error))


def _refusal(verdict: Verdict) -> str:
    advice = (
        "deploy it as a rebuild to make state and results anew from the sources"
        if verdict.kind is Kind.REBUILD
        else "give the sink another name and topic, or delete the job first"
    )
    return f"{verdict.kind}: {'; '.join(verdict.reasons)} ({advice})"


def _is_switch(before: Job, job: Job) -> bool:
    """Whether the version that was rebuilt takes over."""
    return before.record.switched_by is not None and job.record.replaces is None


def _is_claim(before: Job, job: Job) -> bool:
    """Whether a record says who switches, and nothing else that is new."""
    update = {"version": job.version, "switched_by": job.record.switched_by}
    return before.record.model_copy(update=update) == job.record


def _is_no_worse(entry: Entry, good: Job) -> bool:
    """Whether a refused record says what the job is: then the mistake is ours, and to write it anew is no help."""
    if entry.value is None:
        return False
    try:
        record = read_record(entry.value)
    except Refused:
        return False
    is_newer = record.version is None or record.version >= good.version
    return is_newer and record.model_copy(update={"version": good.version}) == good.record


def _check_unswitched(job: Job) -> None:
    if job.record.switched_by is not None:
        raise Conflict(f"job {job.name!r} is being switched to its rebuilt version: ask again in a moment")

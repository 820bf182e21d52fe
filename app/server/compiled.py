"""The compiled texts of all jobs, and what a new one means for the one before. Compiling takes a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from headrace.app.application import App
from headrace.app.errors import HeadraceError
from headrace.app.order import WorkerOrder, open_app, worker_config
from headrace.app.running import check_runnable
from headrace.app.server.jobs import Job, JobRecord, Refused
from headrace.app.server.verdicts import Kind, Verdict, Version, judge
from headrace.app.settings import Settings
from headrace.app.supervisor import Ending
from headrace.sql.errors import Problem, SqlError


class CompiledJobs:
    """The app of each job, as its newest version says."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._apps: dict[str, tuple[JobRecord, App]] = {}
        """With the record of which the app is."""

    def __getitem__(self, name: str) -> App:
        return self._apps[name][1]

    def __iter__(self) -> Iterator[tuple[str, App]]:
        return ((name, app) for name, (_, app) in self._apps.items())

    def put(self, job: Job, app: App) -> None:
        self._apps[job.name] = job.record, app

    def remove(self, name: str) -> None:
        self._apps.pop(name, None)

    async def judge(self, before: Job | None, job: Job) -> tuple[App, Verdict]:
        """The app of a job's next version, and what it means for what the version before has made.

        Raises Refused where it is no app.
        """
        known = self._apps.get(job.name)
        if known is not None and _is_compiled_alike(known[0], job.record):
            app = known[1]
        else:
            app = await self.compile(job)
        if before is None or known is None:
            return app, Verdict(Kind.NEW)
        if job.record.generation < before.record.generation:
            raise Refused(f"generation {job.record.generation} is older than {before.record.generation}")
        verdict = await asyncio.to_thread(judge, _version(before, known[1]), _version(job, app))
        if job.record.generation > before.record.generation and verdict.kind is not Kind.INCOMPATIBLE:
            return app, Verdict(Kind.NEW)
        return app, verdict

    async def compile(self, job: Job) -> App:
        """The app of a job. Raises Refused where it is none, or none that a server can run."""
        return await asyncio.to_thread(self._compiled, job)

    def _compiled(self, job: Job) -> App:
        settings = job.settings(self._settings)
        try:
            app = open_app(job.record.sql, f"{job.name}.sql", job.app, settings)
            check_runnable(app, Ending.WHEN_STOPPED)
            if not app.logical.queries:
                raise Refused("the app has no query: add CREATE TABLE … AS SELECT … or INSERT INTO … SELECT …")
            if own := {self._settings.jobs_topic, self._settings.job_events_topic} & written_topics(app):
                raise Refused(f"topic {own.pop()} is the server's own: give the sink another topic")
            app.stages(job.record.mode)
            worker_config(app, WorkerOrder.plain(app, settings))
        except SqlError as error:
            raise Refused(str(error), [_placed(problem, error.text) for problem in error.problems]) from error
        except HeadraceError as error:
            raise Refused(f"{error}{f' ({error.hint})' if error.hint else ''}") from error
        return app


def written_topics(app: App) -> set[str]:
    """Topics of an app's sinks."""
    return {query.sink.topic for query in app.logical.queries}


def _version(job: Job, app: App) -> Version:
    parallelism = job.record.settings.get("parallelism") or app.settings.get("parallelism")
    return Version(app, job.record.mode, None if parallelism is None else int(parallelism))


def _is_compiled_alike(one: JobRecord, other: JobRecord) -> bool:
    return (one.sql, one.settings, one.generation) == (other.sql, other.settings, other.generation)


def _placed(problem: Problem, text: str) -> Mapping[str, object]:
    """A problem of the SQL, its line and column from 1, its length in characters."""
    place: dict[str, object] = {}
    if problem.span is not None:
        before = text[: problem.span.start]
        column = len(before) - before.rfind("\n")
        place = {"line": before.count("\n") + 1, "column": column, "length": problem.span.end - problem.span.start}
    return {"message": problem.message, "hint": problem.hint, **place}

"""The HTTP API of a job server: what can be asked of it, endpoint by endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import cast

from aiohttp import web
from confluent_kafka import Message

from headrace.agents.topology import TopicKind
from headrace.app.application import App
from headrace.app.clients import raw
from headrace.app.consume import newest
from headrace.app.server import documents as d
from headrace.app.server.endpoints import (
    Answer,
    Endpoint,
    Handler,
    HttpProblem,
    answer,
    openapi,
    read_body,
    read_query,
)
from headrace.app.server.guard import OPEN_PATHS
from headrace.app.server.jobs import NAME, Conflict, Job, JobRecord, NoSuchJob, Refused, Wanted
from headrace.app.server.metrics import JobMetrics
from headrace.app.server.questions import Unanswerable
from headrace.app.server.relations import NoSuchRelation
from headrace.app.server.runner import State
from headrace.app.server.server import Deployed, JobServer
from headrace.app.server.table_api import TableApi
from headrace.sql.physical import ExchangeInput, SinkOp, SourceInput, walk
from headrace.sql.runtime.records import Headers

NAMED = {"name": f"^{NAME}$"}


class Api:
    """The handlers. Errors of the server become problem documents in `guard.py`."""

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self._tables = TableApi(server)
        self._metrics = JobMetrics(server.id)
        job = "/jobs/{name}"
        self.endpoints = (
            Endpoint("GET", "/jobs", "List all jobs", self.list_jobs, {200: (d.JobList,)}, (503,)),
            Endpoint(
                "POST",
                "/jobs",
                "Deploy a job, or its next version",
                self.deploy_job,
                {200: (d.Deployment,), 201: (d.Deployment,)},
                (409, 503),
                query=d.DeployOptions,
                body=d.NewJob,
            ),
            self._of_job("GET", job, "Show a job and what its workers do", self.get_job, {200: (d.JobDetail,)}),
            self._of_job("DELETE", job, "Delete a job", self.delete_job, {204: ()}, d.DeleteOptions),
            self._of_job(
                "POST", f"{job}/pause", "Read nothing; keep state open", self.pause_job, {200: (d.JobSummary,)}
            ),
            self._of_job("POST", f"{job}/resume", "Go on, or start again", self.resume_job, {200: (d.JobSummary,)}),
            self._of_job(
                "POST", f"{job}/stop", "Drain, commit, end the workers", self.stop_job, {200: (d.JobSummary,)}
            ),
            self._of_job(
                "POST", f"{job}/restart", "End and start the workers", self.restart_job, {200: (d.JobSummary,)}
            ),
            self._of_job(
                "GET", f"{job}/explain", "Explain a job", self.explain_job, {200: (d.Explanation,)}, d.ExplainOptions
            ),
            self._of_job("GET", f"{job}/topology", "Its topics and stages", self.picture_job, {200: (d.Picture,)}),
            self._of_job(
                "GET",
                f"{job}/dead-letters",
                "Its newest dead letters",
                self.dead_letters,
                {200: (d.DeadLetters,)},
                d.Limit,
            ),
            *self._tables.endpoints,
            Endpoint("GET", "/health/live", "Whether the server lives", self.live, {200: (d.Health,)}),
            Endpoint("GET", "/health/ready", "Whether it knows its jobs", self.ready, {200: (d.Health,)}, (503,)),
            Endpoint(
                "GET",
                "/metrics",
                "Metrics of all jobs, for Prometheus",
                self.get_metrics,
                {200: ("text/plain",)},
                (503,),
            ),
            Endpoint("GET", "/openapi.json", "This document", self.get_openapi, {200: ("application/json",)}),
        )

    @staticmethod
    def _of_job(
        method: str,
        path: str,
        summary: str,
        handler: Handler,
        answers: Mapping[int, Answer],
        query: type[d.Strict] | None = None,
    ) -> Endpoint:
        return Endpoint(method, path, summary, handler, answers, (404, 409, 503), query, path_patterns=NAMED)

    async def close(self, _app: web.Application) -> None:
        """Ends what is being read for answers."""
        self._tables.close()
        self._metrics.close()

    async def get_openapi(self, _request: web.Request) -> web.Response:
        secured = None if self._server.settings.http_token is None else OPEN_PATHS
        return web.json_response(openapi("Headrace", version("headrace"), self.endpoints, secured))

    async def live(self, _request: web.Request) -> web.Response:
        return answer(d.Health(status="ok"))

    async def ready(self, _request: web.Request) -> web.Response:
        self._server.known()
        return answer(d.Health(status="ok"))

    async def get_metrics(self, _request: web.Request) -> web.Response:
        names = [job.name for job in self._server.known()]
        found = await asyncio.gather(*(self._server.runners[name].status() for name in names))
        answers = [(name, status) for name, of_job in zip(names, found, strict=True) for status in of_job.values()]
        body, media_type = await asyncio.to_thread(self._metrics.exposition, answers)
        return web.Response(body=body, headers={"Content-Type": media_type})

    # Jobs

    async def list_jobs(self, _request: web.Request) -> web.Response:
        return answer(d.JobList(jobs=[self._summary(job) for job in self._server.known()]))

    async def deploy_job(self, request: web.Request) -> web.Response:
        options = read_query(request, d.DeployOptions)
        body = await read_body(request, d.NewJob)
        record = JobRecord(**{name: value for name, value in body if name != "name"})
        is_new = self._server.known().get(body.name) is None
        step = self._server.consider if options.dry_run else self._server.deploy
        deployed: Deployed = await step(body.name, record, rebuild=options.rebuild)
        document = d.Deployment(
            name=body.name,
            version=deployed.job.version,
            generation=deployed.job.record.generation,
            verdict=deployed.verdict.kind,
            reasons=list(deployed.verdict.reasons),
            dry_run=options.dry_run,
        )
        return answer(document, 201 if is_new and not options.dry_run else 200)

    async def get_job(self, request: web.Request) -> web.Response:
        statuses = await self._server.runners[self._named(request).name].status()
        job = self._named(request)  # unless it was deleted meanwhile
        return answer(
            d.JobDetail(
                **self._summary(job).model_dump(),
                sql=job.record.sql,
                settings=dict(job.record.settings),
                status=[statuses[slot] for slot in sorted(statuses)],
            )
        )

    async def delete_job(self, request: web.Request) -> web.Response:
        options = read_query(request, d.DeleteOptions)
        await self._server.delete(self._named(request).name, options.topics)
        return web.Response(status=204)

    async def pause_job(self, request: web.Request) -> web.Response:
        return await self._want(request, Wanted.PAUSED)

    async def resume_job(self, request: web.Request) -> web.Response:
        return await self._want(request, Wanted.RUNNING)

    async def stop_job(self, request: web.Request) -> web.Response:
        return await self._want(request, Wanted.STOPPED)

    async def restart_job(self, request: web.Request) -> web.Response:
        job = self._named(request)
        return await self._changed(job, wanted=Wanted.RUNNING, restarts=job.record.restarts + 1)

    async def _want(self, request: web.Request, wanted: Wanted) -> web.Response:
        job = self._named(request)
        if wanted is Wanted.PAUSED and job.record.wanted is Wanted.STOPPED:
            raise Conflict(f"job {job.name!r} is stopped: there is nothing to pause")
        if job.record.wanted is wanted and self._state(job) is not State.FAILED:
            return answer(self._summary(job))
        return await self._changed(job, wanted=wanted)

    async def _changed(self, job: Job, **update: object) -> web.Response:
        await self._server.change(job.name, **update)
        return answer(self._summary(self._server.job(job.name)))  # unless it was deleted meanwhile

    async def explain_job(self, request: web.Request) -> web.Response:
        options = read_query(request, d.ExplainOptions)
        job = self._named(request)
        text = await asyncio.to_thread(self._server.app(job.name).explain, options.stage, job.record.mode)
        return answer(d.Explanation(stage=options.stage, text=text))

    async def picture_job(self, request: web.Request) -> web.Response:
        job = self._named(request)
        return answer(await asyncio.to_thread(_picture, self._server.app(job.name), job))

    async def dead_letters(self, request: web.Request) -> web.Response:
        options = read_query(request, d.Limit)
        job = self._named(request)
        settings = job.settings(self._server.settings)
        works = job.replaced or job
        letters = await asyncio.to_thread(newest, settings, f"{works.app}-dead-letter", options.limit)
        return answer(d.DeadLetters(dead_letters=[_letter(each) for each in letters]))

    def _named(self, request: web.Request) -> Job:
        return self._server.job(request.match_info["name"])

    def _state(self, job: Job) -> State:
        return self._server.runners[job.name].state

    def _summary(self, job: Job) -> d.JobSummary:
        runner, app = self._server.runners[job.name], self._server.app(job.name)
        return d.JobSummary(
            name=job.name,
            version=job.version,
            generation=job.record.generation,
            wanted=job.record.wanted,
            state=State.SWITCHING if job.record.switched_by is not None else runner.state,
            reason=runner.reason,
            mode=job.record.mode,
            workers=job.record.workers,
            restarts=runner.restarts,
            reads=list(app.source_topics()),
            writes=list(dict.fromkeys(query.sink.topic for query in app.logical.queries)),
            rebuild=self._rebuild(job),
        )

    def _rebuild(self, job: Job) -> d.RebuildSummary | None:
        rebuild = self._server.rebuilds.get(job.name)
        if rebuild is None:
            return None
        return d.RebuildSummary(
            generation=rebuild.generation,
            state=rebuild.runner.state,
            reason=rebuild.reason or rebuild.runner.reason,
            behind=None if rebuild.seen is None else rebuild.seen.behind,
            switching=job.record.switched_by is not None,
        )


def problem_of(error: Exception) -> HttpProblem | None:
    """What of the server's errors is told, and how."""
    match error:
        case HttpProblem():
            return error
        case Refused():
            return HttpProblem(422, str(error), errors=list(error.errors) or None)
        case Conflict():
            return HttpProblem(409, str(error))
        case NoSuchJob() | NoSuchRelation():
            return HttpProblem(404, str(error))
        case Unanswerable():
            return HttpProblem(422, str(error))
        case _:
            return None


def _letter(message: Message) -> d.DeadLetterDocument:
    headers = {name: (raw or b"").decode(errors="replace") for name, raw in cast(Headers, message.headers() or ())}

    def said(name: str) -> str | None:
        return headers.get(f"headrace.error.{name}")

    def number(name: str) -> int | None:
        text = said(name)
        return int(text) if text is not None and text.isdecimal() else None

    key, value, timestamp_ms = raw(message)
    return d.DeadLetterDocument(
        time_ms=timestamp_ms,
        reason=said("message") or "",
        kind=said("class") or "",
        query=said("query") or "",
        topic=said("topic"),
        partition=number("partition"),
        offset=number("offset"),
        key=None if key is None else key.decode(errors="replace"),
        value=None if value is None else value.decode(errors="replace"),
    )


def _picture(app: App, job: Job) -> d.Picture:
    """Topics and stages. A stage that reads a repartition topic is fed by those that write it."""
    plan = app.plan(job.record.mode)
    nodes: dict[str, d.Node] = {}
    edges: dict[tuple[str, str], None] = {}

    def node(id_: str, kind: str, *, stateful: bool = False) -> None:
        nodes.setdefault(id_, d.Node(id=id_, kind=kind, stateful=stateful))

    for stage in plan.stages:
        node(stage.name, "stage", stateful=stage.stateful)
        match stage.input:
            case SourceInput(source):
                node(source.topic, TopicKind.SOURCE)
                edges[source.topic, stage.name] = None
            case ExchangeInput(senders=senders):
                edges.update(((sender, stage.name), None) for sender in senders)
        for operator in walk(stage.consumers):
            if isinstance(operator, SinkOp):
                node(operator.query.sink.topic, TopicKind.SINK)
                edges[stage.name, operator.query.sink.topic] = None
    return d.Picture(nodes=list(nodes.values()), edges=[d.Edge(source=a, target=b) for a, b in edges])

"""The HTTP endpoints of a worker: whether it lives and is ready, what it is doing, metrics, a live page."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from enum import Enum
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

import orjson
import structlog
from aiohttp import web

from headrace.agents.background import Background
from headrace.agents.errors import KafkaFailure
from headrace.agents.observer import Observer, Unobserved
from headrace.app import page
from headrace.app.problems import problem

if TYPE_CHECKING:
    from headrace.agents.status import WorkerStatus
    from headrace.app.telemetry import Telemetry

log = structlog.get_logger(__name__)

PUBLISH_S = 1.0
"""How often what exporters read is renewed."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'",
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Source(Protocol):
    """A worker, as its endpoints see it."""

    def status(self) -> WorkerStatus: ...

    def fail(self, error: BaseException) -> None:
        """End it."""


def application(source: Source, telemetry: Telemetry | None) -> web.Application:
    """The endpoints. Errors are RFC 9457 problem documents."""
    routes = web.RouteTableDef()

    @routes.get("/health/live")
    async def live(_request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    @routes.get("/health/ready")
    async def ready(_request: web.Request) -> web.Response:
        status = source.status()
        if status.ready:
            return _json({"status": "ok"})
        restoring = [f"{each.stage}-{each.partition}" for each in status.restoring]
        if restoring:
            return problem(503, f"the state of {', '.join(restoring)} is being restored")
        return problem(503, "the group has not assigned its partitions yet, or their tasks are being opened")

    @routes.get("/status")
    async def status(_request: web.Request) -> web.Response:
        return _json({"version": version("headrace"), **asdict(source.status())})

    @routes.get("/metrics")
    async def metrics(_request: web.Request) -> web.Response:
        if telemetry is None:
            return problem(404, "no metrics are kept")
        telemetry.publish(source.status())
        body, media_type = telemetry.exposition()
        return web.Response(body=body, headers={"Content-Type": media_type})

    app = web.Application(middlewares=[_guarded])
    app.add_routes([*routes, *page.routes()])
    return app


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = problem(error.status, f"{request.method} {request.path}: {error.reason}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    response.headers.update(HEADERS)
    return response


def _json(document: Mapping[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS), content_type="application/json")


class IfTaken(Enum):
    """What comes of an address that cannot be used."""

    END = "the worker ends, and is started again until it can"
    GO_ON = "the worker goes on without endpoints"


class WorkerService:
    """Runs beside a worker: endpoints where a port is given, and metrics."""

    def __init__(self, host: str, port: int | None, telemetry: Telemetry | None, if_taken: IfTaken) -> None:
        """Without a port there are no endpoints."""
        self._address = (host, port)
        self._if_taken = if_taken
        self._telemetry = telemetry
        self._runner: web.AppRunner | None = None
        self._background: Background | None = None
        self._publishing: asyncio.Future[None] | None = None
        self._worker: Source | None = None

    @property
    def observer(self) -> Observer:
        return self._telemetry or Unobserved()

    async def start(self, worker: Source) -> None:
        """What fails later ends the worker too."""
        if self._telemetry is not None:
            self._background = Background(worker.fail)
            self._worker = worker
            self._publishing = self._background.spawn(self._publish(worker, self._telemetry))
        host, port = self._address
        if port is None:
            return
        runner = web.AppRunner(application(worker, self._telemetry), access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            self._refused(error)
            return
        self._runner = runner
        log.info("serving HTTP", address=f"http://{host}:{port}")

    def _refused(self, error: OSError) -> None:
        host, port = self._address
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        match self._if_taken:
            case IfTaken.END:
                raise KafkaFailure(f"address {host}:{port} for HTTP {reason}", "http_port sets another; 0 is none")
            case IfTaken.GO_ON:
                log.warning("no HTTP endpoints: the address cannot be used", address=f"{host}:{port}", reason=reason)

    async def _publish(self, worker: Source, telemetry: Telemetry) -> None:
        while True:
            telemetry.publish(worker.status())
            await asyncio.sleep(PUBLISH_S)

    def last_look(self) -> None:
        """Publish what the worker has done in its last second too, and nothing after it."""
        self._end_publishing()
        if self._telemetry is not None and self._worker is not None:
            self._telemetry.publish(self._worker.status())

    def _end_publishing(self) -> None:
        if self._background is not None and self._publishing is not None:
            self._background.close()
            self._publishing.cancel()

    async def stop(self) -> None:
        self._end_publishing()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._telemetry is not None:
            # Sends what is left: with nobody to take it, that takes its time.
            await asyncio.get_running_loop().run_in_executor(None, self._telemetry.close)

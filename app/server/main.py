"""The process of a job server: its jobs, its HTTP endpoints, and its end."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import ssl
from importlib.metadata import version

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError

from headrace.app.errors import ExitCode, OutsideError, UsageError
from headrace.app.server import page
from headrace.app.server.api import Api, problem_of
from headrace.app.server.endpoints import routes
from headrace.app.server.guard import RateLimit, guard, is_loopback
from headrace.app.server.server import JobServer
from headrace.app.settings import Settings

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 8 * 1024 * 1024


def serve(settings: Settings) -> int:
    """Run a job server until SIGTERM or SIGINT, then have all workers drain; the exit code.

    Raises UsageError for settings that do not go together, OutsideError where Kafka or the address gives out.
    """
    return asyncio.run(_serve(settings, _tls(settings)))


def _tls(settings: Settings) -> ssl.SSLContext | None:
    certificate, key = settings.http_tls_certificate, settings.http_tls_key
    if settings.http_port == 0:
        raise UsageError("http_port: a job server needs a port")
    if settings.http_token is None and not is_loopback(settings.http_host):
        raise UsageError(
            f"http_host {settings.http_host} is open to others, who could run what they like here",
            "http_token sets what they have to know; 127.0.0.1 is for this machine only",
        )
    if settings.http_token is not None and len(settings.http_token.get_secret_value()) < 16:
        raise UsageError("http_token: at least 16 characters")
    if (certificate is None) != (key is None):
        raise UsageError("http_tls_certificate and http_tls_key go together")
    if certificate is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password="")  # a key with one is refused: nobody is there to type it
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"http_tls_certificate {certificate}, http_tls_key {key}: {error}") from error
    return context


def _is_ours(record: logging.LogRecord) -> bool:
    """What strangers send that is no HTTP is answered by aiohttp, and is no trouble of ours to be logged."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


async def _serve(settings: Settings, tls: ssl.SSLContext | None) -> int:
    server = JobServer(settings)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    # Not the access log of aiohttp: it would write the query strings of strangers.
    runner = web.AppRunner(application(server), access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await _listen(runner, settings.http_host, settings.http_port, tls)
        following = asyncio.create_task(server.run())
        waiting = asyncio.create_task(stopped.wait())
        done, _ = await asyncio.wait((following, waiting), return_when=asyncio.FIRST_COMPLETED)
        if following in done:
            following.result()
            return ExitCode.OUTSIDE
        log.info("stopping: all workers drain and commit")
        following.cancel()
        await asyncio.wait((following,))
        return ExitCode.DONE
    finally:
        await server.close()
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None) -> None:
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise OutsideError(f"address {host}:{port} {reason}", "http_port sets another port") from error
    log.info("serving", address=f"{'https' if tls else 'http'}://{host}:{port}", version=version("headrace"))


def application(server: JobServer) -> web.Application:
    """The HTTP application of a server."""
    settings = server.settings
    guarded = guard(settings.http_token, RateLimit(settings.http_rate), problem_of)
    app = web.Application(middlewares=[guarded], client_max_size=BODY_BYTES_MAX)
    api = Api(server)
    app.add_routes([*routes(api.endpoints), *page.routes()])
    app.on_shutdown.append(api.close)
    return app

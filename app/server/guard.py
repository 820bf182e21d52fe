"""Who may ask a job server, how much and how often; and what becomes of its errors."""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from confluent_kafka import KafkaException
from pydantic import SecretStr

from headrace.agents.errors import KafkaFailure
from headrace.app import clients
from headrace.app.errors import ExitCode, HeadraceError
from headrace.app.http import HEADERS
from headrace.app.server.endpoints import HttpProblem

log = structlog.get_logger(__name__)

OPEN_PATHS = ("/", "/health/live", "/health/ready", "/favicon.ico")
"""Answered without a token: a page asks for it, a probe has none."""
OPEN_PREFIX = "/page/"
ADDRESSES_MAX = 10_000
BURST_S = 2.0


@dataclass(slots=True)
class _Bucket:
    """What an address may still ask at once, and when that was counted."""

    left: float
    at: float


class RateLimit:
    """So many requests a second from each address, with bursts of two seconds' worth."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def takes(self, address: str) -> bool:
        """Whether one more request of the address is in order."""
        now = self._clock()
        most = self._per_second * BURST_S
        bucket = self._buckets.pop(address, None) or _Bucket(most, now)
        left = min(most, bucket.left + (now - bucket.at) * self._per_second)
        if len(self._buckets) >= ADDRESSES_MAX:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[address] = _Bucket(max(left - 1, 0), now) if left >= 1 else _Bucket(left, now)
        return left >= 1


def guard(
    token: SecretStr | None, rate: RateLimit, problem_of: Callable[[Exception], HttpProblem | None]
) -> Middleware:
    """Checks each request before its handler, and makes each error a problem document."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _check(request, token, rate)
            response = await handler(request)
        except web.HTTPException as error:
            response = HttpProblem(error.status, f"{request.method} {request.path}: {error.reason}").response()
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except Exception as error:  # the edge of the process: whatever it is, its caller is told
            if request.writer.output_size:
                raise  # in the middle of an answer: all that is left is to break it off
            response = _told(error, problem_of).response()
            if response.status == 401:
                response.headers["WWW-Authenticate"] = "Bearer"
            if response.status == 429:
                response.headers["Retry-After"] = "1"
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    return guarded


def _check(request: web.Request, token: SecretStr | None, rate: RateLimit) -> None:
    if not rate.takes(request.remote or ""):
        raise HttpProblem(429, "too many requests from this address")
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise HttpProblem(403, f"requests from pages of {origin} are not taken")
    if token is None:
        if not is_loopback(_hostname(request.host)):
            # A name that somebody else has pointed here, for a browser on this machine to be fooled by.
            raise HttpProblem(
                403, f"without a token this server answers to its loopback names only, not to {request.host}"
            )
        return
    if request.path in OPEN_PATHS or request.path.startswith(OPEN_PREFIX):
        return
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(
        given.encode(errors="replace"), token.get_secret_value().encode()
    ):
        raise HttpProblem(401, "send the token: Authorization: Bearer …")


def _hostname(host: str) -> str:
    """The name in a Host header, without its port; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, for itself only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _told(error: Exception, problem_of: Callable[[Exception], HttpProblem | None]) -> HttpProblem:
    problem = problem_of(error)
    if problem is not None:
        return problem
    match error:
        case HeadraceError():
            status = 503 if error.exit_code is ExitCode.OUTSIDE else 422
            return HttpProblem(status, str(error), hint=error.hint)
        case KafkaFailure():
            return HttpProblem(503, error.message, hint=error.hint or None)
        case KafkaException():
            return HttpProblem(503, clients.explain(error))
        case _:
            log.error("request failed", exc_info=error)
            return HttpProblem(500, "an internal error; the log of the server has it")

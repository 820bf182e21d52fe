"""Who may ask a job server: the checks before every request, and what a server refuses to start with."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from headrace.app.errors import UsageError
from headrace.app.problems import PROBLEM
from headrace.app.running import run_app
from headrace.app.server import endpoints
from headrace.app.server.api import problem_of
from headrace.app.server.documents import QueryText
from headrace.app.server.endpoints import answer, read_body
from headrace.app.server.guard import RateLimit, guard
from headrace.app.server.main import serve
from headrace.app.settings_sources import settings_as_given
from headrace.app.supervisor import Ending

TOKEN = "a-token-of-24-characters"
BODY_BYTES_MAX = 1_000
Client = TestClient[Any, Any]


async def echo(request: web.Request) -> web.Response:
    return answer(await read_body(request, QueryText))


async def breaks(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half of it")
    raise ZeroDivisionError


async def healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


def asked(ask: Callable[[Client], Awaitable[None]], token: str | None = None, per_second: int = 100) -> None:
    """Have a guarded application asked."""

    async def run() -> None:
        secret = None if token is None else SecretStr(token)
        guarded = guard(secret, RateLimit(per_second, clock=lambda: 0.0), problem_of)
        app = web.Application(middlewares=[guarded], client_max_size=BODY_BYTES_MAX)
        app.add_routes(
            [
                web.post("/echo", echo),
                web.get("/breaks", breaks),
                web.get("/health/live", healthy),
                web.get("/", healthy),
            ]
        )
        async with TestClient(TestServer(app)) as client:
            await ask(client)

    asyncio.run(run())


async def status(client: Client, method: str, path: str, **headers: str) -> int:
    return (await client.request(method, path, headers=headers)).status


@pytest.mark.parametrize("given", [None, "", TOKEN, f"Basic {TOKEN}", "Bearer guess", "Bearer", "Bearer \u00e4\u00f6"])
def test_wrong_token_is_refused_and_says_how_to_send_it(given: str | None) -> None:
    async def ask(client: Client) -> None:
        response = await client.post("/echo", headers={} if given is None else {"Authorization": given})
        assert (response.status, response.content_type) == (401, PROBLEM)
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert TOKEN not in await response.text()

    asked(ask, TOKEN)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_token_lets_in(scheme: str) -> None:
    async def ask(client: Client) -> None:
        response = await client.post("/echo", json={"sql": "x"}, headers={"Authorization": f"{scheme} {TOKEN}"})
        assert (response.status, (await response.json())["sql"]) == (200, "x")

    asked(ask, TOKEN)


def test_probes_need_no_token() -> None:
    async def ask(client: Client) -> None:
        assert await status(client, "GET", "/health/live") == 200
        assert await status(client, "GET", "/nothing") == 401

    asked(ask, TOKEN)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", "http://localhost:1"])
def test_page_of_another_site_is_refused(origin: str) -> None:
    async def ask(client: Client) -> None:
        assert await status(client, "GET", "/health/live", Origin=origin) == 403

    asked(ask)
    asked(ask, TOKEN)


def test_page_of_this_server_is_answered() -> None:
    async def ask(client: Client) -> None:
        assert await status(client, "GET", "/health/live", Origin=str(client.make_url("")).rstrip("/")) == 200

    asked(ask)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("evil.example", 403),
        ("evil.example:8088", 403),
        ("127.0.0.1.evil.example:8088", 403),
        ("localhost.evil.example", 403),
        ("10.0.0.1:8088", 403),
        ("[::2]:8088", 403),
        ("[nonsense", 403),
        ("localhost", 200),
        ("LOCALHOST:8088", 200),
        ("127.0.0.1", 200),
        ("127.0.0.1:8088", 200),
        ("[::1]", 200),
        ("[::1]:8088", 200),
    ],
)
def test_server_without_token_answers_to_its_loopback_names_only(host: str, expected: int) -> None:
    async def ask(client: Client) -> None:
        assert await status(client, "GET", "/health/live", Host=host) == expected

    asked(ask)


def test_large_body_is_refused_however_it_is_packed() -> None:
    async def ask(client: Client) -> None:
        json = {"Content-Type": "application/json"}
        large = b'{"sql": "' + b" " * BODY_BYTES_MAX + b'"}'
        response = await client.post("/echo", data=large, headers=json)
        assert (response.status, response.content_type) == (413, PROBLEM)
        packed = gzip.compress(large)
        assert len(packed) < BODY_BYTES_MAX
        assert (await client.post("/echo", data=packed, headers=json | {"Content-Encoding": "gzip"})).status == 413

    asked(ask)


def test_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "BODY_S", 0.05)
    never = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    async def ask(client: Client) -> None:
        response = await client.post("/echo", data=slowly(), headers={"Content-Type": "application/json"})
        assert (response.status, response.content_type) == (408, PROBLEM)

    asked(ask)


def test_address_that_asks_too_often_is_told_to_wait() -> None:
    async def ask(client: Client) -> None:
        found = [await status(client, "GET", "/health/live") for _ in range(5)]
        assert found == [200] * 4 + [429]
        response = await client.get("/health/live")
        assert (response.content_type, response.headers["Retry-After"]) == (PROBLEM, "1")

    asked(ask, per_second=2)


def test_addresses_are_counted_each_and_get_their_rate_back() -> None:
    now = 0.0
    rate = RateLimit(2, clock=lambda: now)
    assert [rate.takes("a") for _ in range(5)] == [True] * 4 + [False]
    assert rate.takes("b")
    now = 1.0
    assert [rate.takes("a") for _ in range(3)] == [True, True, False]


def test_answer_that_breaks_half_way_is_broken_off() -> None:
    async def ask(client: Client) -> None:
        response = await client.get("/breaks")
        assert await response.content.readexactly(10) == b"half of it"
        with pytest.raises(ClientPayloadError):
            await response.read()

    asked(ask)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"http_host": "0.0.0.0"}, "is open to others"),
        ({"http_host": "::"}, "is open to others"),
        ({"http_host": "some.host.example"}, "is open to others"),
        ({"http_token": "short"}, "http_token: at least 16 characters"),
        ({"http_token": "short", "http_host": "0.0.0.0"}, "http_token: at least 16 characters"),
        ({"http_port": 0}, "a job server needs a port"),
        ({"http_tls_certificate": "cert.pem"}, "go together"),
        ({"http_tls_key": "key.pem"}, "go together"),
        ({"http_tls_certificate": "none.pem", "http_tls_key": "none.pem"}, "No such file"),
    ],
)
def test_server_that_would_be_open_or_half_closed_does_not_start(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        serve(settings_as_given(settings))


def test_private_key_with_a_password_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from headrace.app.broker.credentials import credentials_in

    key = tmp_path / "key.pem"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    certificate = credentials_in(tmp_path).broker_pem
    with pytest.raises(UsageError, match="http_tls_key"):
        serve(settings_as_given({"http_tls_certificate": certificate, "http_tls_key": key}))


@pytest.mark.parametrize("name", ["http_token", "http_tls_certificate", "http_tls_key", "http_rate"])
def test_run_refuses_a_protection_that_its_workers_do_not_have(name: str, tmp_path: Path) -> None:
    value = "1000" if name == "http_rate" else TOKEN
    with pytest.raises(UsageError, match=f"{name}: of `headrace server` only") as caught:
        run_app(tmp_path / "app.sql", settings_as_given({name: value}), Ending.WHEN_STOPPED)
    assert TOKEN not in str(caught.value)

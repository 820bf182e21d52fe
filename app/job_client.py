"""The HTTP API of a job server, as its client on the command line uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import orjson
import requests

from headrace.app.errors import HeadraceError, InputError, OutsideError, UsageError
from headrace.app.settings import Settings

TIMEOUT_S = 60.0
"""A deletion waits until all workers have left."""
EVENTS = "text/event-stream"


class JobClient:
    """Asks the server at `server_url`, with `http_token` where it is set.

    Raises InputError for what the server says is wrong, OutsideError where it does not answer or cannot do it now.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.server_url.rstrip("/")
        self._session = requests.Session()
        if settings.http_token is not None:
            self._session.headers["Authorization"] = f"Bearer {settings.http_token.get_secret_value()}"

    def jobs(self) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = self._ask("GET", "/jobs")["jobs"]
        return jobs

    def job(self, name: str) -> dict[str, Any]:
        return self._ask("GET", f"/jobs/{quote(name, safe='')}")

    def deploy(self, document: Mapping[str, object], *, dry_run: bool, rebuild: bool) -> dict[str, Any]:
        options = {"dry_run": str(dry_run).lower(), "rebuild": str(rebuild).lower()}
        return self._ask("POST", "/jobs", params=options, json=document)

    def change(self, name: str, what: str) -> dict[str, Any]:
        """`what`: pause, resume, stop or restart."""
        return self._ask("POST", f"/jobs/{quote(name, safe='')}/{what}")

    def delete(self, name: str, topics: str) -> None:
        self._answer("DELETE", f"/jobs/{quote(name, safe='')}", params={"topics": topics})

    def explain(self, name: str, stage: str) -> str:
        text: str = self._ask("GET", f"/jobs/{quote(name, safe='')}/explain", params={"stage": stage})["text"]
        return text

    def query(self, sql: str, limit: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._ask("POST", "/query", json={"sql": sql, "limit": limit})["rows"]
        return rows

    def follow(self, sql: str) -> Iterator[str]:
        """Rows as JSON texts, until the server ends. OutsideError where it says why there are no more."""
        response = self._answer("POST", "/query", json={"sql": sql}, headers={"Accept": EVENTS}, stream=True)
        try:
            has_failed = False
            for line in response.iter_lines(chunk_size=1):
                if line == b"event: error":
                    has_failed = True
                elif line.startswith(b"data: "):
                    data = line.removeprefix(b"data: ").decode()
                    if has_failed:
                        raise OutsideError(f"the rows end: {orjson.loads(data)}")
                    yield data
        except requests.exceptions.RequestException as error:
            raise OutsideError(f"the job server at {self._url} has gone: {_reason(error)}") from error

    def _ask(self, method: str, path: str, **of_request: Any) -> dict[str, Any]:
        response = self._answer(method, path, **of_request)
        try:
            document: dict[str, Any] = response.json()
        except requests.exceptions.JSONDecodeError as error:
            raise OutsideError(f"{self._url} answers with no JSON", "is this a job server?") from error
        return document

    def _answer(self, method: str, path: str, **of_request: Any) -> requests.Response:
        try:
            response = self._session.request(method, self._url + path, timeout=TIMEOUT_S, **of_request)
        except requests.exceptions.InvalidURL as error:
            raise UsageError(f"server_url {self._url}: {error}") from error
        except requests.exceptions.RequestException as error:
            raise OutsideError(
                f"no job server answers at {self._url}: {_reason(error)}",
                "headrace server starts one; server_url names another",
            ) from error
        if response.ok:
            return response
        raise _refused(response)


def _refused(response: requests.Response) -> HeadraceError:
    try:
        problem = response.json()
        detail, hint = problem["detail"], problem.get("hint")
    except (ValueError, KeyError, TypeError):
        detail, hint = f"{response.status_code} {response.reason}", "is this a job server?"
    match response.status_code:
        case 401:
            return UsageError(detail, "http_token sets the token")
        case 400 | 403 | 404 | 409 | 413 | 415 | 422:
            return InputError(detail, hint)
        case _:
            return OutsideError(detail, hint)


def _reason(error: requests.exceptions.RequestException) -> str:
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    return str(cause)

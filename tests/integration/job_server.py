"""A job server as a user has it: a process of `headrace server` with topics of its own, and what it answers."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from tests.integration.edge_cluster import wait_until
from tests.integration.sql_app import COMMAND, unique_name

from headrace.app import broker as brokers

DEADLINE_S = 60.0
"""For what a server does by itself: to start, to stop, to bring a job to a state."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Message
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class JobServerProcess:
    """Has ended after `with`. Servers of one name follow the same topics."""

    def __init__(
        self,
        bootstrap: str,
        directory: Path,
        name: str = "",
        settings: Mapping[str, str] | None = None,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name or unique_name("server")
        self.jobs_topic = f"{self.name}-jobs"
        self.events_topic = f"{self.name}-events"
        self.directory = directory
        self.log_file = directory / f"{self.name}.log"
        self.port = brokers.free_port()
        self._bootstrap = bootstrap
        self._token = token
        self._tls = tls
        given = {
            "bootstrap_servers": bootstrap,
            "jobs_topic": self.jobs_topic,
            "job_events_topic": self.events_topic,
            "state_dir": str(directory / "state"),
            "http_port": str(self.port),
            "commit_interval": "100ms",
            "log_format": "json",
            **({"http_token": token} if token is not None else {}),
            **(settings or {}),
        }
        self._environment = {f"HEADRACE_{name.upper().replace('.', '_')}": value for name, value in given.items()}

    # Its process

    def start(self) -> None:
        """Returns when it is ready."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "server"], stderr=log, cwd=self.directory, env=os.environ | self._environment
            )
        try:
            wait_until(lambda: self.process.poll() is not None or self._is_ready(), "the server is ready", DEADLINE_S)
        except AssertionError:
            self.kill()
            raise
        assert self.process.poll() is None, self.log()

    def _is_ready(self) -> bool:
        try:
            return self.ask("GET", "/health/ready").status == 200
        except OSError:
            return False

    def __enter__(self) -> JobServerProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE_S)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, as kill -9 does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        return self.log_file.read_text()

    # What it is asked

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, document: object = None, headers: Mapping[str, str | None] | None = None
    ) -> Reply:
        """One request, with the token; a header of None is left out."""
        given: dict[str, str | None] = {}
        if self._token is not None:
            given["Authorization"] = f"Bearer {self._token}"
        body = None
        if document is not None:
            given["Content-Type"] = "application/json"
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
        sent = {name: value for name, value in {**given, **(headers or {})}.items() if value is not None}
        request = urllib.request.Request(f"{self.url}{path}", body, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self._tls) as response:
                return Reply(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())

    def answer(self, method: str, path: str, status: int = 200, document: object = None) -> Any:
        """The document of the answer, which has to have the status."""
        reply = self.ask(method, path, document)
        assert reply.status == status, reply
        return reply.document if reply.body else None

    def deploy(self, name: str, sql: str, status: int = 201, options: str = "", **fields: Any) -> Any:
        return self.answer("POST", f"/jobs{options}", status, {"name": name, "sql": sql, **fields})

    def job(self, name: str) -> Any:
        return self.answer("GET", f"/jobs/{name}")

    def await_state(self, name: str, state: str) -> Any:
        """The job, once it is in the state."""
        wait_until(lambda: self.job(name)["state"] == state, f"job {name} is {state}", DEADLINE_S)
        return self.job(name)

    def events(self) -> list[dict[str, Any]]:
        """What it has told so far in its topic of events."""
        command = [*COMMAND, "--bootstrap-servers", self._bootstrap, "consume", "--until-end", self.events_topic]
        output = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
        return [json.loads(line)["value"] for line in output.splitlines()]

    def client(self, *arguments: str, code: int = 0) -> str:
        """What `headrace jobs` says: on stdout, or on stderr where it is to fail."""
        command = [*COMMAND, "--set", f"server_url={self.url}", "jobs", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr


NewServer = Callable[..., JobServerProcess]
"""Starts a server: of a name, where others are to follow the same topics, and with settings of its own."""

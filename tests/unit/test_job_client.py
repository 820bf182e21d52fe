"""A client of a job server that goes away, or is none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from headrace.app.errors import OutsideError
from headrace.app.job_client import JobClient
from headrace.app.settings_sources import load_settings

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
STREAM = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b'f\r\ndata: {"n":1}\n\n\r\n'
PAGE = HEAD + b"Content-Length: 6\r\n\r\n<html>"


@contextmanager
def server_that_says(answer: bytes) -> Iterator[JobClient]:
    """It answers one request, and goes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield JobClient(load_settings({"server_url": url}, environ={}))
        thread.join()


def test_rows_before_a_server_goes_are_given_and_then_it_is_told() -> None:
    with server_that_says(STREAM) as client:
        rows = client.follow("SELECT * FROM t")
        assert next(rows) == '{"n":1}'
        with pytest.raises(OutsideError, match=r"the job server at http://127\.0\.0\.1:\d+ has gone"):
            next(rows)


@pytest.mark.parametrize("ask", [JobClient.jobs, lambda client: client.job("a")])
def test_what_is_no_job_server_is_named(ask: Callable[[JobClient], object]) -> None:
    with server_that_says(PAGE) as client, pytest.raises(OutsideError, match="answers with no JSON"):
        ask(client)

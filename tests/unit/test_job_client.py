"""A client of a job server that goes away, or is none."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from headrace.app.cli import run_command
from headrace.app.errors import OutsideError
from headrace.app.job_client import JobClient
from headrace.app.settings_sources import load_settings

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
STREAM = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b'f\r\ndata: {"n":1}\n\n\r\n'
PAGE = HEAD + b"Content-Length: 6\r\n\r\n<html>"


@contextmanager
def server_that_says(answer: bytes) -> Iterator[str]:
    """Its address. It answers one request, and goes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def client_of(url: str) -> JobClient:
    return JobClient(load_settings({"server_url": url}, environ={}))


def test_rows_before_a_server_goes_are_given_and_then_it_is_told() -> None:
    with server_that_says(STREAM) as url:
        rows = client_of(url).follow("SELECT * FROM t")
        assert next(rows) == '{"n":1}'
        with pytest.raises(OutsideError, match=r"the job server at http://127\.0\.0\.1:\d+ has gone"):
            next(rows)


def test_rows_that_end_with_an_error_are_given_and_then_it_is_told() -> None:
    failed = b'event: error\ndata: "topic t: it is gone"\n\n'
    with server_that_says(STREAM + b"%x\r\n%s\r\n0\r\n\r\n" % (len(failed), failed)) as url:
        rows = client_of(url).follow("SELECT * FROM t")
        assert next(rows) == '{"n":1}'
        with pytest.raises(OutsideError, match="the rows end: topic t: it is gone"):
            next(rows)


@pytest.mark.parametrize("ask", [JobClient.jobs, lambda client: client.job("a")])
def test_what_is_no_job_server_is_named(ask: Callable[[JobClient], object]) -> None:
    with server_that_says(PAGE) as url, pytest.raises(OutsideError, match="answers with no JSON"):
        ask(client_of(url))


def test_partitions_of_a_job_are_shown_as_far_as_anything_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    """A watermark may be beyond the calendar; the lag of a partition that is not read is not known."""
    tasks = [
        {
            "stage": stage,
            "partition": 0,
            "queries": [],
            "inputs": [{"position": 5, "lag": lag} for lag in lags],
            "state_keys": 0,
            "watermark_ms": watermark,
        }
        for stage, watermark, lags in (
            ("a", 1_700_000_000_000, [2, None, 3]),
            ("b", 1_700_000_000_000_000, [None]),
            ("c", None, [0]),
        )
    ]
    row = {"name": "a", "state": "running", "version": 1, "mode": "single", "workers": 1, "reads": [], "writes": []}
    job = {**row, "reason": None, "rebuild": None, "status": [{"slot": 0, "tasks": tasks}]}
    body = json.dumps(job).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with server_that_says(head + body) as url:
        assert run_command(["jobs", "status", "a", "--output", "table", "--set", f"server_url={url}"]) == 0
    table = [[cell.strip() for cell in line.split("│")] for line in capsys.readouterr().out.splitlines()]
    shown = {
        cells[1]: cells[5:7] for cells in table if len(cells) > 7 and cells[1] in ("a", "b", "c") and cells[2] == "0"
    }
    assert shown == {"a": ["5", "2023-11-14 22:13:20"], "b": ["", "1700000000000000 ms"], "c": ["0", ""]}

"""The main program of a worker process, up to where it would meet Kafka: what it says, and what it ends with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.app import errors
from headrace.app.answers import Answer, read_answer
from headrace.app.errors import ExitCode
from headrace.app.order import WorkerOrder
from headrace.app.settings_sources import load_settings

SQL = """
CREATE STREAM orders (id BIGINT) WITH (topic = 'orders');
CREATE STREAM copies AS SELECT id FROM orders;
"""
MAIN = """
import os, sys
from headrace.app import worker
{instead}
sys.exit(worker.main())
"""


@pytest.fixture
def order(tmp_path: Path) -> bytes:
    settings = load_settings({"state_dir": str(tmp_path), "http_port": "0"}, environ={})
    return WorkerOrder(SQL, "copies.sql", "copies", settings, {"orders": 1}, None, slot=0).to_json()


def ended(order: bytes, instead: str) -> subprocess.CompletedProcess[bytes]:
    """The process of a worker, in which something else stands in the place of a part of it."""
    command = [sys.executable, "-c", MAIN.format(instead=instead)]
    stdin, supervisor = os.pipe()  # whose end would stop the worker
    try:
        os.write(supervisor, order + b"\n")
        return subprocess.run(command, stdin=stdin, capture_output=True, timeout=60, check=False)
    finally:
        os.close(stdin)
        os.close(supervisor)


def test_what_a_function_prints_goes_to_stderr_and_is_no_answer(order: bytes) -> None:
    worker = ended(
        order,
        """
def run_worker(*_):
    print(42)
    os.write(1, b"43\\n")
    os.system("echo 44")
    return 0
worker.run_worker = run_worker
""",
    )
    assert (worker.returncode, worker.stdout) == (0, b"")
    assert set(worker.stderr.split()) >= {b"42", b"43", b"44"}


RAISING = """
def open_app(*_):
    raise {error}
worker.open_app = open_app
"""


def test_worker_that_fails_as_nobody_foresaw_ends_with_3_and_its_traceback(order: bytes) -> None:
    worker = ended(order, RAISING.format(error='OSError(28, "No space left on device")'))
    assert worker.returncode == ExitCode.OUTSIDE
    assert b"Traceback" in worker.stderr
    assert read_answer(worker.stdout) == Answer(failure="OSError: [Errno 28] No space left on device")


def test_worker_without_memory_ends_with_3(order: bytes) -> None:
    assert ended(order, RAISING.format(error="MemoryError()")).returncode == ExitCode.OUTSIDE


def test_worker_whose_order_is_none_ends_with_3() -> None:
    assert ended(b"{}", "").returncode == ExitCode.OUTSIDE


@pytest.mark.parametrize("error", ["InputError", "UsageError", "OutsideError"])
def test_worker_that_fails_as_foreseen_ends_with_the_code_of_its_error(order: bytes, error: str) -> None:
    raising = RAISING.format(error=f'errors.{error}("so it is")')
    worker = ended(order, f"from headrace.app import errors\n{raising}")
    assert worker.returncode == getattr(errors, error).exit_code
    assert b"Traceback" not in worker.stderr
    assert read_answer(worker.stdout) == Answer(failure="so it is")


def test_worker_whose_sql_is_wrong_ends_with_1(order: bytes) -> None:
    worker = ended(order.replace(b"SELECT id", b"SELECT it"), "")
    assert worker.returncode == ExitCode.INPUT
    assert b"Traceback" not in worker.stderr


def test_worker_that_cannot_reach_kafka_while_it_is_set_up_ends_with_3(order: bytes) -> None:
    raising = RAISING.format(error='KafkaFailure("nobody answers")')
    worker = ended(order, f"from headrace.agents.errors import KafkaFailure\n{raising}")
    assert worker.returncode == ExitCode.OUTSIDE
    assert b"Traceback" not in worker.stderr

"""The main program of a worker process, up to where it would meet Kafka: what it says, and what it ends with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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

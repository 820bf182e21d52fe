"""A part of a benchmark as a process of its own: it is told an order, and speaks with us in lines of JSON."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.app.bench.cpu import process_s
from headrace.app.errors import OutsideError

STOP_S = 60.0


class Process:
    """The process as its starter sees it."""

    def __init__(self, module: str, process: subprocess.Popen[bytes], errors: Path) -> None:
        self._module = module
        self._process = process
        self._errors = errors

    def cpu_s(self) -> float:
        """User and system time so far."""
        return process_s(self._process.pid)

    def hear(self) -> Any:
        """The next line that the process says. OutsideError where it ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure(self._process.wait())
        return json.loads(line)

    def go(self) -> None:
        """Let a process that waits for it go on (see `await_go`)."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def answer(self, timeout_s: float | None = None) -> Any:
        """The next line, and the end of the process. OutsideError where it failed, or took longer."""
        timer = threading.Timer(timeout_s, self._process.kill) if timeout_s is not None else None
        if timer is not None:
            timer.start()
        try:
            said = self.hear()
            if code := self._process.wait():
                raise self._failure(code)
        finally:
            if timer is not None:
                timer.cancel()
        return said

    def stop(self) -> Any:
        """Ask for the end and wait for it, as `answer`."""
        self._process.send_signal(signal.SIGTERM)
        return self.answer(STOP_S)

    def _failure(self, code: int) -> OutsideError:
        errors = self._errors.read_text(errors="replace")[-3000:]
        return OutsideError(f"the {self._module} process of the benchmark ended with exit code {code}:\n{errors}")


@contextmanager
def started(module: str, order: Mapping[str, object]) -> Iterator[Process]:
    """A module of the benchmarks as a process: its arguments are the order as JSON, and a directory to be made.

    It is killed at the end if it still runs.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name:
        errors = Path(name, "stderr")
        arguments = [sys.executable, "-m", f"headrace.app.bench.{module}", json.dumps(order), str(Path(name, "state"))]
        with (
            errors.open("wb") as stderr,
            subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr) as process,
        ):
            try:
                yield Process(module, process, errors)
            finally:
                process.kill()


def say(said: object) -> None:
    """Tell the starter of this process."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def await_go() -> None:
    """Say that all is prepared, and wait for the starter's word."""
    say("ready")
    sys.stdin.readline()

"""A part of a benchmark as a process of its own: it is told an order, and answers with a line of JSON."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cpu import process_s

STOP_S = 60.0


class Process:
    def __init__(self, module: str, process: subprocess.Popen[bytes], directory: Path) -> None:
        self._module = module
        self._process = process
        self._directory = directory

    def cpu_s(self) -> float:
        """User and system time so far."""
        return process_s(self._process.pid)

    def answer(self, timeout_s: float | None = None) -> Any:
        """Wait for the end; what the process printed last. SystemExit where it failed."""
        code = self._process.wait(timeout_s)
        output = (self._directory / "stdout").read_text()
        if code:
            errors = (self._directory / "stderr").read_text()
            raise SystemExit(f"{self._module} ended with exit code {code}:\n{output[-3000:]}\n{errors[-3000:]}")
        return json.loads(output.splitlines()[-1])

    def stop(self) -> Any:
        """Ask for the end and wait for it, as `answer`."""
        self._process.send_signal(signal.SIGTERM)
        return self.answer(STOP_S)


@contextmanager
def started(module: str, order: Mapping[str, object]) -> Iterator[Process]:
    """A module of the benchmarks as a process: its arguments are the order as JSON, and an empty directory.

    It is killed at the end if it still runs.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name:
        directory = Path(name)
        arguments = [sys.executable, "-m", f"benchmarks.{module}", json.dumps(order), str(directory / "state")]
        with (
            (directory / "stdout").open("wb") as stdout,
            (directory / "stderr").open("wb") as stderr,
            subprocess.Popen(arguments, stdout=stdout, stderr=stderr) as process,
        ):
            try:
                yield Process(module, process, directory)
            finally:
                process.kill()

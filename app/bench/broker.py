"""The broker that a benchmark measures against: one of its own, or a running one that is named."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headrace.app import broker as brokers
from headrace.app.bench.cpu import process_s
from headrace.app.errors import UsageError


@dataclass(frozen=True, slots=True)
class Broker:
    address: str
    pid: int | None
    """Process whose CPU time is the broker's; None where that is not known."""

    def cpu_s(self) -> float | None:
        return None if self.pid is None else process_s(self.pid)


@contextmanager
def opened(bootstrap: str | None, pid: int | None) -> Iterator[Broker]:
    """A running broker; where none is named, one is started here, stopped at the end, and its data are deleted.

    Raises UsageError where there is no process with this id.
    """
    if bootstrap is not None:
        if pid is not None and not Path(f"/proc/{pid}/stat").exists():
            raise UsageError(f"--broker-pid: there is no process {pid}")
        yield Broker(bootstrap, pid)
        return
    if pid is not None:
        raise UsageError("--broker-pid goes with --bootstrap-servers", "a broker of its own is measured anyway")
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        home = brokers.Home(Path(directory), brokers.Home.of_user().jars)
        started = brokers.start(home, brokers.free_port(), brokers.Security.PLAINTEXT, lambda *_: None)
        try:
            yield Broker(started.address, started.pid)
        finally:
            brokers.stop(started)

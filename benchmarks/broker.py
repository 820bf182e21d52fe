"""The broker that a benchmark measures against: one of its own, or a running one that is named."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cpu import process_s
from headrace.app import broker as brokers


@dataclass(frozen=True, slots=True)
class Broker:
    address: str
    pid: int | None
    """Process whose CPU time is the broker's; None where that is not known, and then it counts as 0."""

    def cpu_s(self) -> float:
        return 0.0 if self.pid is None else process_s(self.pid)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bootstrap", help="a running broker; without it one is started and stopped again")
    parser.add_argument("--broker-pid", type=int, help="process whose CPU time is the broker's")


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Broker]:
    """The broker of the options; one that is started here is stopped at the end, and its data are deleted."""
    if options.bootstrap:
        yield Broker(options.bootstrap, options.broker_pid)
        return
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        home = brokers.Home(Path(directory), brokers.Home.of_user().jars)
        started = brokers.start(home, brokers.free_port(), brokers.Security.PLAINTEXT, lambda *_: None)
        try:
            yield Broker(started.address, started.pid)
        finally:
            brokers.stop(started)

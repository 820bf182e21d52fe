"""What a measured worker is told."""

from __future__ import annotations

import time
from dataclasses import dataclass

from headrace.agents.config import Guarantee


@dataclass(frozen=True, slots=True)
class Order:
    """An app to run, as `python -m headrace.app.bench.worker` takes it; it starts when it is told to go."""

    bootstrap: str
    app: str
    """Also the prefix of every topic that the app writes."""
    sql: str
    """With `{source}` and `{sink}` where the names of topics belong."""
    source: str
    guarantee: Guarantee
    commit_interval_s: float
    mode: str = "partitioned"
    slot: int = 0
    """Number of this worker among those of the app."""
    to_end: bool = True
    """End where the source ends now; else run until SIGTERM."""

    @property
    def sink(self) -> str:
        return f"{self.app}-sink"

    @property
    def text(self) -> str:
        return self.sql.replace("{source}", self.source).replace("{sink}", self.sink)


REFERENCES = ("W1", "W2-every")
"""Workloads that the plain Faust agent does too."""


@dataclass(frozen=True, slots=True)
class FaustOrder:
    """What `python -m headrace.app.bench.faust_agent` does."""

    bootstrap: str
    app: str
    workload: str
    """One of `REFERENCES`."""
    source: str
    sink: str
    partitions: int
    records: int


def new_name(what: str) -> str:
    """A name that no run had before."""
    return f"bench-{what.lower()}-{time.time_ns() // 1_000_000}"

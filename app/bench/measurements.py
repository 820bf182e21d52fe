"""The measurements as they are written: one JSON line each, after a line that says where and how they were made."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from headrace.app import broker as brokers

PACKAGES = ("headrace", "faust-streaming", "aiokafka", "confluent-kafka", "msgspec", "rocksdict")


class Run(msgspec.Struct, tag_field="kind", tag="run", kw_only=True):
    """How the measurements that follow were made."""

    command: str
    date: str
    commit: str | None
    """Of the source; None where it is an installed package."""
    machine: dict[str, str | int]
    versions: dict[str, str]


class PartitionLoad(msgspec.Struct, kw_only=True):
    partition: int
    records: int
    busy_s: float
    """CPU time of the tasks that read it."""


class Throughput(msgspec.Struct, tag_field="kind", tag="throughput", kw_only=True):
    """One run of a workload to the end of its input. Costs are µs per input record."""

    scenario: str
    layer: str
    mode: str
    """`single`, `partitioned`, or `faust` for the plain agent."""
    partitions: int
    workers: int
    records: int
    guarantee: str | None
    commit_interval_s: float | None
    repeat: int
    cpu_us: float
    """User and system time of all workers."""
    wall_us: float
    """From the first batch of any worker to the last commit."""
    broker_us: float | None
    """CPU time of the broker in the same run."""
    plain_us: float
    """CPU time of a plain loop over the same kind of records, before and after the run."""
    memory_mb: float
    """Peak of the workers together."""
    state_keys: int | None
    state_bytes: int | None
    by_partition: list[PartitionLoad]
    result: str
    """Digest of the result: equal results have equal digests."""

    @property
    def promise(self) -> str | None:
        """How the run committed, as text; None where nothing was promised."""
        return None if self.guarantee is None else f"{self.guarantee}, commits every {self.commit_interval_s} s"


class Latency(msgspec.Struct, tag_field="kind", tag="latency", kw_only=True):
    """How long records took, from when each was due to when its result could be read. In ms."""

    case: str
    guarantee: str
    stages: int
    rate: int
    """Records in a second."""
    seconds: int
    commit_interval_s: float
    target_p99_ms: float
    records: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    plain_p50_ms: float
    """The same of a plain reader of the source topic, in the same run."""
    plain_p95_ms: float
    plain_p99_ms: float
    plain_p999_ms: float
    plain_max_ms: float


class Steady(msgspec.Struct, tag_field="kind", tag="steady", kw_only=True):
    """CPU time at a steady rate, in % of a core."""

    scenario: str
    partitions: int
    guarantee: str | None
    """None: the broker alone, with nothing but the producer."""
    rate: int
    seconds: int
    commit_interval_s: float
    repeat: int
    worker_percent: float
    broker_percent: float | None
    plain_us: float


class Step(msgspec.Struct, kw_only=True):
    step: str
    us: float


class Budget(msgspec.Struct, tag_field="kind", tag="budget", kw_only=True):
    """Where the CPU time of a worker went. Per input record; the steps add up to the total."""

    scenario: str
    layer: str
    partitions: int
    records: int
    steps: list[Step]
    total_us: float
    plain_us: float


class Restore(msgspec.Struct, tag_field="kind", tag="restore", kw_only=True):
    """One restore of a task's state from its changelog."""

    keys: int
    repeat: int
    keys_per_s: float
    cpu_us: float
    """Of the process, per key."""
    held_us: float
    """Of the thread that restores, per key: for so long it holds the interpreter."""
    plain_us: float
    late_p50_ms: float
    """How late a task of the main loop woke up beside another such restore."""
    late_p99_ms: float
    call_p50_ms: float
    """How long a call in a thread took beside it."""
    call_p99_ms: float


class Closing(msgspec.Struct, tag_field="kind", tag="closing", kw_only=True):
    """Windows of one kind that closed at once. In seconds of CPU time."""

    windows: str
    rows: int
    repeat: int
    cpu_s: float
    """Until their rows are ready to be sent."""
    store_s: float
    """What the store takes to delete their state."""
    plain_us: float


Measurement = Throughput | Latency | Steady | Restore | Budget | Closing


class Output:
    """Appends measurements to a file, each as soon as it is there; nothing where no file is wanted."""

    def __init__(self, path: Path | None, command: str) -> None:
        self._path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(describe(command))

    def write(self, measurement: Measurement) -> None:
        if self._path is not None:
            self._append(measurement)

    def _append(self, line: Run | Measurement) -> None:
        assert self._path is not None
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")


def describe(command: str) -> Run:
    """This machine, this moment, these versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine: dict[str, str | int] = {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "kernel": platform.release(),
    }
    versions = {name: version(name) for name in PACKAGES}
    versions |= {"python": platform.python_version(), "kafka": brokers.kafka_version()}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Run(command=command, date=now, commit=_commit(), machine=machine, versions=versions)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _commit() -> str | None:
    """Of the checkout that runs; with a plus where something in it was changed since."""
    source = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=source,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()

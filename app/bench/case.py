"""One case of the throughput benchmark, and what a run of it has used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.agents.config import Guarantee
from headrace.app.bench.layers import Layer
from headrace.app.bench.measurements import PartitionLoad, Throughput
from headrace.app.bench.results import Results
from headrace.app.bench.workloads import Workload

FAUST = "faust"
"""The mode of the plain Faust agent."""


@dataclass(frozen=True, slots=True)
class Case:
    workload: Workload
    layer: Layer
    mode: str
    partitions: int
    workers: int
    records: int

    def __str__(self) -> str:
        name = f"{self.workload.name}, {self.layer}, {self.mode}, {self.partitions} partitions"
        return f"{name}, {self.workers} workers, {self.records:,} records"


@dataclass(frozen=True, slots=True)
class UsedBy:
    """What the processes of one run have used."""

    workers: Sequence[Mapping[str, Any]]
    """What each has said: `cpu_s`, `started_at`, `ended_at`, `memory_mb`, where known `by_partition` and state."""
    broker_s: float | None
    plain_us: float


def measured(
    case: Case,
    guarantee: Guarantee | None,
    commit_interval_s: float | None,
    repeat: int,
    used: UsedBy,
    results: Results,
) -> Throughput:
    """The measurement that follows."""

    def per_record(seconds: float) -> float:
        return round(seconds / case.records * 1e6, 4)

    def total(name: str) -> int | None:
        known = [worker[name] for worker in used.workers if name in worker]
        return sum(known) if known else None

    wall_s = max(w["ended_at"] for w in used.workers) - min(w["started_at"] for w in used.workers)
    return Throughput(
        scenario=case.workload.name,
        layer=case.layer,
        mode=case.mode,
        partitions=case.partitions,
        workers=case.workers,
        records=case.records,
        guarantee=guarantee,
        commit_interval_s=commit_interval_s,
        repeat=repeat,
        cpu_us=per_record(sum(worker["cpu_s"] for worker in used.workers)),
        wall_us=per_record(wall_s),
        broker_us=None if used.broker_s is None else per_record(used.broker_s),
        plain_us=round(used.plain_us, 4),
        memory_mb=round(sum(worker["memory_mb"] for worker in used.workers), 1),
        state_keys=total("state_keys"),
        state_bytes=total("state_bytes"),
        by_partition=_loads(used.workers),
        result=results.digest,
    )


def _loads(workers: Sequence[Mapping[str, Any]]) -> list[PartitionLoad]:
    """Of each partition, by all workers together."""
    loads: dict[int, PartitionLoad] = {}
    for use in (use for worker in workers for use in worker.get("by_partition", ())):
        load = loads.setdefault(use["partition"], PartitionLoad(partition=use["partition"], records=0, busy_s=0.0))
        load.records += use["records"]
        load.busy_s = round(load.busy_s + use["busy_s"], 6)
    return [loads[number] for number in sorted(loads)]

"""All measurements of some files: the medians of each case, and what they say together."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from headrace.app.bench.measurements import Budget, Closing, Latency, Measurement, Restore, Run, Steady, Throughput
from headrace.app.bench.scaling import Scalability, fitted
from headrace.app.bench.workloads import WORKLOADS

PARTITIONS, PARTITIONS_MOST = 8, 16
"""The spec's number of partitions, and the most that a full run measures."""


@dataclass(frozen=True, slots=True)
class Medians:
    """What the runs of one case have cost in the middle."""

    cpu_us: float
    cpu_us_min: float
    cpu_us_max: float
    loops: float
    wall_us: float
    broker_us: float | None
    memory_mb: float
    state_keys: int | None
    state_bytes: int | None

    @property
    def per_s(self) -> float:
        return 1e6 / self.wall_us


@dataclass(slots=True)
class Measured:
    """All measurements of some files."""

    runs: list[Run] = field(default_factory=list)
    throughput: list[Throughput] = field(default_factory=list)
    latency: list[Latency] = field(default_factory=list)
    restore: list[Restore] = field(default_factory=list)
    budget: list[Budget] = field(default_factory=list)
    closing: list[Closing] = field(default_factory=list)

    def add(self, made: Run | Measurement) -> None:
        match made:
            case Run():
                self.runs.append(made)
            case Throughput():
                self.throughput.append(made)
            case Latency():
                self.latency.append(made)
            case Restore():
                self.restore.append(made)
            case Budget():
                self.budget.append(made)
            case Closing():
                self.closing.append(made)
            case Steady():
                pass  # has no table

    def medians(
        self, layer: str, scenario: str, mode: str, partitions: int, workers: int, records: int | None = None
    ) -> Medians | None:
        """Of one case over so many records (None: the most); None where it was not measured."""
        wanted = (layer, scenario, mode, partitions, workers)
        runs = [t for t in self.throughput if (t.layer, t.scenario, t.mode, t.partitions, t.workers) == wanted]
        count = max((run.records for run in runs), default=0) if records is None else records
        runs = [run for run in runs if run.records == count]
        if not runs:
            return None
        costs = [run.cpu_us for run in runs]
        brokers = [run.broker_us for run in runs if run.broker_us is not None]
        return Medians(
            statistics.median(costs),
            min(costs),
            max(costs),
            statistics.median(run.cpu_us / run.plain_us for run in runs),
            statistics.median(run.wall_us for run in runs),
            statistics.median(brokers) if brokers else None,
            max(run.memory_mb for run in runs),
            runs[0].state_keys,
            runs[0].state_bytes,
        )

    def scenarios(self, layer: str) -> list[str]:
        """Those measured in a layer, in their order."""
        found = {t.scenario for t in self.throughput if t.layer == layer and t.mode != "faust"}
        return [name for name in WORKLOADS if name in found]

    def scaled(self, layer: str) -> list[str]:
        """Those measured with one partition and with the most."""
        return [name for name in self.scenarios(layer) if len(self.loops_by_partitions(layer, name)) > 1]

    def scaled_records(self, layer: str, scenario: str) -> int:
        """Over how many records most numbers of partitions were measured, one among them: others do not compare."""
        wanted = (layer, scenario, "partitioned", 1)
        numbers: dict[int, set[int]] = {}
        for run in self.throughput:
            if (run.layer, run.scenario, run.mode, run.workers) == wanted:
                numbers.setdefault(run.records, set()).add(run.partitions)
        return max(numbers, key=lambda count: (1 in numbers[count], len(numbers[count]), count), default=0)

    def loops_by_partitions(self, layer: str, scenario: str) -> dict[int, float]:
        """CPU time of a record in plain loops, mode partitioned, one worker; empty where one partition is missing."""
        numbers = sorted({t.partitions for t in self.throughput if (t.layer, t.scenario) == (layer, scenario)})
        records = self.scaled_records(layer, scenario)
        found = {n: self.medians(layer, scenario, "partitioned", n, 1, records) for n in numbers}
        loops = {n: each.loops for n, each in found.items() if each is not None}
        return loops if 1 in loops else {}

    def law(self, layer: str, scenario: str) -> Scalability:
        return fitted(self.loops_by_partitions(layer, scenario))

    def speed_up(self, scenario: str) -> float | None:
        """Wall-clock throughput of two workers over that of one, without a broker beside them."""
        one = self.medians("engine", scenario, "partitioned", PARTITIONS, 1)
        two = self.medians("engine", scenario, "partitioned", PARTITIONS, 2)
        return None if one is None or two is None else two.per_s / one.per_s

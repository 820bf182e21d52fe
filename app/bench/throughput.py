"""`headrace bench run`: the cases of a benchmark one after the other, each run checked and compared with all others."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from headrace.agents.config import Guarantee
from headrace.app.bench import broker as brokers
from headrace.app.bench import engine_layer, kafka_layer
from headrace.app.bench.case import FAUST, Case
from headrace.app.bench.inputs import Inputs
from headrace.app.bench.layers import Layer
from headrace.app.bench.measurements import Throughput
from headrace.app.bench.results import Results
from headrace.app.bench.workloads import WORKLOADS
from headrace.app.errors import InputError, UsageError
from headrace.sql.errors import did_you_mean
from headrace.sql.physical import Mode

PARTITIONS_MAX = 64
WORKERS_MAX = 8
REFERENCE_RECORDS = 50_000
REFERENCE_PARTITIONS = 4

Taken = tuple[Throughput, Results]


class WrongResultError(InputError):
    """What came out of a run is not what must."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `run` is to measure."""

    scenarios: Sequence[str]
    layers: Sequence[Layer]
    modes: Sequence[Mode]
    partitions: Sequence[int]
    workers: Sequence[int]
    records: int
    repeat: int
    guarantee: Guarantee
    commit_interval_s: float
    references: Sequence[str] = ()
    """Workloads for which the plain Faust agent is measured too (of `order.REFERENCES`)."""
    bootstrap: str | None = None
    """None: with a broker of its own, where one is needed."""
    broker_pid: int | None = None

    @property
    def cases(self) -> list[Case]:
        """Mode single is one worker whatever is asked for, and more workers than partitions are no case.

        Raises UsageError where no case is left.
        """
        found = [
            Case(WORKLOADS[name], layer, mode, partitions, workers, self.records)
            for layer in self.layers
            for name in self.scenarios
            for partitions in self.partitions
            for mode in self.modes
            for workers in self.workers
            if workers <= (1 if mode is Mode.SINGLE else partitions)
        ]
        if not found:
            raise UsageError(
                "nothing is left to measure",
                "mode single has 1 worker, mode partitioned at most one for each partition",
            )
        return found

    @property
    def reference_cases(self) -> list[Case]:
        """The plain Faust agent is so slow that it gets fewer records."""
        count = min(self.records, REFERENCE_RECORDS)
        return [Case(WORKLOADS[name], Layer.KAFKA, FAUST, REFERENCE_PARTITIONS, 1, count) for name in self.references]


def checked_scenarios(names: Iterable[str]) -> list[str]:
    """The names of workloads, all where none is given. UsageError for one that does not exist."""
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in WORKLOADS:
            raise UsageError(f"no scenario is called `{name}`", did_you_mean(name, WORKLOADS))
    return wanted or list(WORKLOADS)


def measure(plan: Plan, note: Callable[[Throughput], None]) -> list[Throughput]:
    """Make all runs; `note` is told of each as soon as it is made, before it is judged.

    Raises WrongResultError where the output of a run is wrong, or differs from that of another over the same records.
    """
    cases = plan.cases
    agreement = Agreement()
    measurements = []
    for case, (measurement, results) in _runs(plan, cases):
        note(measurement)
        check(case, results)
        agreement.check(case, results.digest)
        measurements.append(measurement)
    return measurements


def check(case: Case, results: Results) -> None:
    """Raises WrongResultError where the results of a run are not what must come out."""
    if wrong := case.workload.check(case.records, results):
        raise WrongResultError(f"{case}: {wrong}")


def _runs(plan: Plan, cases: Sequence[Case]) -> Iterator[tuple[Case, Taken]]:
    with ExitStack() as stack:
        inputs = Inputs(Path(stack.enter_context(TemporaryDirectory(prefix="headrace-bench-"))))
        for case in cases:
            if case.layer is Layer.ENGINE:
                for taken in engine_layer.runs(case, inputs, plan.commit_interval_s, plan.repeat):
                    yield case, taken
        on_kafka = [case for case in cases if case.layer is Layer.KAFKA]
        if not on_kafka:
            return
        broker = stack.enter_context(brokers.opened(plan.bootstrap, plan.broker_pid))
        for case in on_kafka:
            for repeat in range(plan.repeat):
                yield case, kafka_layer.run(case, broker, plan.guarantee, plan.commit_interval_s, repeat)
        for case in plan.reference_cases:
            for repeat in range(plan.repeat):
                yield case, kafka_layer.reference(case, broker, repeat)


class Agreement:
    """Whether all runs of a workload over the same records come to one result, in every mode and layer."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, int], tuple[Case, str]] = {}

    def check(self, case: Case, digest: str) -> None:
        """Raises WrongResultError for a result that differs from the first one.

        The plain agent writes JSON in its own way, so it is left out.
        """
        if case.mode == FAUST:
            return
        first, expected = self._first.setdefault((case.workload.name, case.records), (case, digest))
        if digest != expected:
            raise WrongResultError(f"results differ: {first} gave {expected}, {case} gave {digest}")


def table(measurements: Iterable[Throughput]) -> list[dict[str, object]]:
    """One row for each case: medians of its runs."""
    by_case: dict[tuple[object, ...], list[Throughput]] = {}
    for each in measurements:
        key = (each.scenario, each.layer, each.mode, each.partitions, each.workers, each.records, each.guarantee)
        by_case.setdefault(key, []).append(each)
    return [_row(runs) for runs in by_case.values()]


def _row(runs: Sequence[Throughput]) -> dict[str, object]:
    first = runs[0]
    costs = [run.cpu_us for run in runs]
    cpu_us, wall_us = statistics.median(costs), statistics.median(run.wall_us for run in runs)
    broker = [run.broker_us for run in runs if run.broker_us is not None]
    return {
        "scenario": first.scenario,
        "layer": first.layer,
        "mode": first.mode,
        "partitions": first.partitions,
        "workers": first.workers,
        "records": first.records,
        "guarantee": first.guarantee,
        "cpu_us": round(cpu_us, 3),
        "cpu_us_min": round(min(costs), 3),
        "cpu_us_max": round(max(costs), 3),
        "broker_us": round(statistics.median(broker), 3) if broker else None,
        "records_per_s": round(1e6 / wall_us),
        "plain_loops": round(statistics.median(run.cpu_us / run.plain_us for run in runs), 2),
        "memory_mb": round(max(run.memory_mb for run in runs), 1),
        "state_keys": first.state_keys,
    }

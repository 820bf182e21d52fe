"""A guard against slowness: what a record costs the engine, in calls and in plain loops, must stay under a bound.

Calls are counted, so one that is new for each record is found on any machine. Whatever else becomes slow shows in CPU
time only: as a ratio, so that a busy machine does not matter much; the least of some runs, because whatever disturbs a
run only adds to it. `python -m headrace.app.bench.guard` is a part of `make check`.
"""

from __future__ import annotations

import gc
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType

from headrace.app.application import App
from headrace.app.bench.case import Case
from headrace.app.bench.engine import Engine, Share
from headrace.app.bench.engine_layer import SINK, runs
from headrace.app.bench.inputs import SOURCE, Inputs, Partition
from headrace.app.bench.layers import Layer
from headrace.app.bench.workloads import WORKLOADS
from headrace.sql.physical import Mode

BOUNDS: Mapping[str, float] = {"W1": 4.0, "W2-latest": 5.0, "W2-every": 7.5, "W3": 8.5}
"""Plain loops of CPU time for a record: about twice what a quiet run takes, as the smallest machines shake most.

Who makes a workload faster sets its bound anew, by what
`headrace bench run --partitions 4 --workers 1 --mode partitioned` says.
"""
CALLS: Mapping[str, float] = {"W1": 2.6, "W2-latest": 2.1, "W2-every": 9.1, "W3": 10.2}
"""Calls of functions for a record, of Python's and of C's: half a call more than there are."""
PARTITIONS, RECORDS, REPEAT = 4, 60_000, 3
CALLS_RECORDS = 20_000
NO_COMMIT_S = 3600.0
"""None before the end: when one comes is a matter of time."""


class Calls:
    """Counts the calls of functions, as a profile function does."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _frame: FrameType, event: str, _argument: object) -> None:
        self.count += event in ("call", "c_call")


def calls(scenario: str, inputs: Inputs) -> float:
    """Calls of functions that a record of a workload costs in the engine alone; the same in every run."""
    workload = WORKLOADS[scenario]
    app = App(workload.sql.replace("{source}", SOURCE).replace("{sink}", SINK), "guard")
    path = inputs.path(workload.source, CALLS_RECORDS, PARTITIONS)
    partitions = [Partition(path, number) for number in range(PARTITIONS)]
    counted = Calls()
    with tempfile.TemporaryDirectory(prefix="headrace-guard-") as directory:
        engine = Engine(app, Mode.PARTITIONED, PARTITIONS, Share(), Path(directory), NO_COMMIT_S)
        gc.disable()  # whoever is told of collections would be counted
        sys.setprofile(counted)
        try:
            engine.run(partitions)
        finally:
            sys.setprofile(None)
            gc.enable()
    return counted.count / CALLS_RECORDS


def many_calls(bounds: Mapping[str, float], inputs: Inputs) -> Iterable[str]:
    """A line for each workload with more calls for a record than its bound."""
    for scenario, bound in bounds.items():
        made = calls(scenario, inputs)
        if made > bound:
            yield f"{scenario} makes {made:.2f} calls of functions a record, more than {bound}"


def cost(scenario: str, inputs: Inputs) -> float:
    """Plain loops that a record of a workload costs in the engine alone."""
    case = Case(WORKLOADS[scenario], Layer.ENGINE, Mode.PARTITIONED, PARTITIONS, 1, RECORDS)
    return min(made.cpu_us / made.plain_us for made, _ in runs(case, inputs, 0.2, REPEAT))


def slow(bounds: Mapping[str, float], inputs: Inputs) -> Iterable[str]:
    """A line for each workload that costs more than its bound, measured once more before that is said."""
    for scenario, bound in bounds.items():
        loops = cost(scenario, inputs)
        if loops > bound:
            loops = min(loops, cost(scenario, inputs))
        if loops > bound:
            yield f"{scenario} costs {loops:.1f} plain loops a record, more than {bound}"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="headrace-guard-") as directory:
        inputs = Inputs(Path(directory))
        found = [*many_calls(CALLS, inputs), *slow(BOUNDS, inputs)]
    for line in found:
        sys.stderr.write(f"{line}; `headrace bench budget {line.split()[0]}` shows where it goes\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

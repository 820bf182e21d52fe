"""A guard against slowness: what the engine costs in plain loops, measured beside them, must stay under a bound.

Ratios of CPU time and not wall time, so that a busy machine does not matter much; the least of some runs, because
whatever disturbs a run only adds to it. `python -m headrace.app.bench.guard` is a part of `make check`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from headrace.app.bench.case import Case
from headrace.app.bench.engine_layer import runs
from headrace.app.bench.inputs import Inputs
from headrace.app.bench.layers import Layer
from headrace.app.bench.workloads import WORKLOADS
from headrace.sql.physical import Mode

BOUNDS: Mapping[str, float] = {"W1": 4.0, "W2-latest": 5.0, "W2-every": 7.5, "W3": 8.5}
"""Plain loops of CPU time for a record: about twice what a quiet run takes, as the smallest machines shake most.

Who makes a workload faster sets its bound anew, by what
`headrace bench run --partitions 4 --workers 1 --mode partitioned` says.
"""
PARTITIONS, RECORDS, REPEAT = 4, 100_000, 3


def cost(scenario: str, inputs: Inputs) -> float:
    """Plain loops that a record of a workload costs in the engine alone."""
    case = Case(WORKLOADS[scenario], Layer.ENGINE, Mode.PARTITIONED, PARTITIONS, 1, RECORDS)
    return min(made.cpu_us / made.plain_us for made, _ in runs(case, inputs, 0.2, REPEAT))


def slow(bounds: Mapping[str, float]) -> list[str]:
    """A line for each workload that costs more than its bound, measured once more before that is said."""
    found = []
    with tempfile.TemporaryDirectory(prefix="headrace-guard-") as directory:
        inputs = Inputs(Path(directory))
        for scenario, bound in bounds.items():
            loops = cost(scenario, inputs)
            if loops > bound:
                loops = min(loops, cost(scenario, inputs))
            if loops > bound:
                found.append(f"{scenario} costs {loops:.1f} plain loops a record, more than {bound}")
    return found


def main() -> int:
    found = slow(BOUNDS)
    for line in found:
        sys.stderr.write(f"{line}; `headrace bench budget {line.split()[0]}` shows where it goes\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

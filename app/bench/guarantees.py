"""What exactly once costs over at least once: the two run in turn, and each pair gives one ratio.

A ratio of two runs that follow each other at once is what a noisy machine leaves comparable; the order within a pair
alternates, so that neither always comes first.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from headrace.agents.config import Guarantee
from headrace.app.bench import kafka_layer
from headrace.app.bench.broker import Broker
from headrace.app.bench.case import Case
from headrace.app.bench.measurements import Throughput
from headrace.app.bench.throughput import Agreement, WrongResultError

Pair = Mapping[Guarantee, Throughput]


def measure(broker: Broker, case: Case, commit_interval_s: float, pairs: int) -> Iterator[Pair]:
    """So many pairs of runs of a case. WrongResultError where an output is wrong, or they differ."""
    agreement = Agreement()
    for number in range(pairs):
        pair = {}
        for guarantee in Guarantee if number % 2 else reversed(Guarantee):
            pair[guarantee], results = kafka_layer.run(case, broker, guarantee, commit_interval_s, number)
            if wrong := case.workload.check(case.records, results):
                raise WrongResultError(f"{case}, {guarantee}: {wrong}")
            agreement.check(case, results.digest)
        yield pair


def ratios(pairs: Sequence[Pair]) -> dict[str, object]:
    """Exactly once to at least once: the median ratio of the CPU time of workers and of broker, and its bounds."""
    row: dict[str, object] = {"scenario": pairs[0][Guarantee.EXACTLY_ONCE].scenario, "pairs": len(pairs)}
    for name in ("cpu_us", "broker_us"):
        costs = [(getattr(p[Guarantee.EXACTLY_ONCE], name), getattr(p[Guarantee.AT_LEAST_ONCE], name)) for p in pairs]
        values = [exactly / least for exactly, least in costs if exactly is not None and least]
        row[name.replace("_us", "_ratio")] = round(statistics.median(values), 3) if values else None
        row[name.replace("_us", "_ratio_min")] = round(min(values), 3) if values else None
        row[name.replace("_us", "_ratio_max")] = round(max(values), 3) if values else None
    return row

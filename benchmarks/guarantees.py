"""What exactly once costs over at least once: the two run in turn, and each pair gives one ratio.

A ratio of two runs that follow each other at once is what a noisy machine leaves comparable; the order within a pair
alternates, so that neither always comes first.
"""

from __future__ import annotations

import argparse
import statistics

from benchmarks import broker as brokers
from benchmarks.broker import Broker
from benchmarks.run import Run, add_options, figures, measure
from benchmarks.workloads import WORKLOADS, Workload
from headrace.agents.config import Guarantee

Pair = dict[Guarantee, Run]


def measure_pair(broker: Broker, workload: Workload, number: int, options: argparse.Namespace) -> Pair:
    order = list(Guarantee) if number % 2 else list(reversed(Guarantee))
    return {guarantee: measure(broker, workload, guarantee, options) for guarantee in order}


def report(broker: Broker, name: str, options: argparse.Namespace) -> None:
    """Run the pairs of one workload and print both rows and their ratio."""
    pairs: list[Pair] = []
    for number in range(options.pairs):
        pairs.append(measure_pair(broker, WORKLOADS[name], number, options))
        print(f"<!-- {name} pair {number}: {ratios(pairs[-1:])} -->", flush=True)
    for guarantee in Guarantee:
        print(f"| {name} | {guarantee} | {figures([pair[guarantee] for pair in pairs])} |")
    print(f"| {name} | ratio | {ratios(pairs)} |", flush=True)


def ratios(pairs: list[Pair]) -> str:
    """Median ratio, exactly once to at least once, of the worker's and of the broker's CPU time (smallest–largest)."""
    cells = []
    for cost in ("cpu_us", "broker_us"):
        values = [
            getattr(pair[Guarantee.EXACTLY_ONCE], cost) / getattr(pair[Guarantee.AT_LEAST_ONCE], cost) for pair in pairs
        ]
        cells.append(f"{statistics.median(values):.3f} ({min(values):.3f}–{max(values):.3f})")
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("workloads", nargs="*", default=["W2-latest", "W2-every"])
    options = parser.parse_args()
    with brokers.opened(options) as broker:
        print("| workload | guarantee | CPU µs/record | broker µs/record | records/s | peak MB | in plain loops |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name in options.workloads:
            report(broker, name, options)


if __name__ == "__main__":
    main()

"""Run the workloads and print a table: `make bench`, or `python -m benchmarks.run` with options.

CPU µs per record is user and system time of the whole worker process from its first record batch to its last commit,
divided by the number of input records. Every run's output is read back and checked. The last column is the same cost
in plain loops: how often a bare Python loop over the same records (decode, group by symbol, sum) would have run in that
time, measured before and after each run, because other loads share the machine.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import asdict, dataclass

from benchmarks import broker as brokers
from benchmarks import process
from benchmarks.broker import Broker
from benchmarks.cpu import plain_loop_us
from benchmarks.order import Order, new_name
from benchmarks.topics import PARTITIONS, create_topic, delete_topics, load, values
from benchmarks.workloads import WORKLOADS, Workload
from headrace.agents.config import Guarantee

REFERENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a workload has cost. CPU and wall time in µs per input record."""

    cpu_us: float
    wall_us: float
    broker_us: float
    memory_mb: int
    loops: float
    """CPU time in plain loops."""


def measure(broker: Broker, workload: Workload, guarantee: Guarantee, options: argparse.Namespace) -> Run:
    """One run of a workload to the end of its source; SystemExit where its output is wrong."""
    source = f"bench-{workload.source}-{options.records}"
    load(broker.address, source, workload.source, options.records)
    order = Order(
        broker.address,
        new_name(workload.name),
        workload.sql,
        source,
        guarantee,
        options.commit_interval,
        options.mode,
    )
    plain = [plain_loop_us()]
    before = broker.cpu_s()
    with process.started("worker", asdict(order)) as worker:
        used = worker.answer()
    broker_s = broker.cpu_s() - before
    plain.append(plain_loop_us())
    wrong = workload.check(options.records, values(broker.address, order.sink))
    if wrong:
        raise SystemExit(f"{workload.name}: {wrong}")
    delete_topics(broker.address, order.app)
    cpu_us, wall_us, broker_us = (s / options.records * 1e6 for s in (used["cpu_s"], used["wall_s"], broker_s))
    return Run(cpu_us, wall_us, broker_us, used["memory_mb"], cpu_us / statistics.mean(plain))


def reference(broker: Broker, workload: str, records: int) -> float:
    """CPU µs per record of a plain Faust agent on the same records."""
    name = new_name(f"faust-{workload}")
    source = f"bench-trades-{records}"
    load(broker.address, source, "trades", records)
    create_topic(broker.address, f"{name}-sink", PARTITIONS)
    order = {
        "bootstrap": broker.address,
        "app": name,
        "workload": workload,
        "source": source,
        "sink": f"{name}-sink",
        "partitions": PARTITIONS,
        "records": records,
    }
    with process.started("faust_agent", order) as agent:
        return float(agent.answer(REFERENCE_S)["cpu_s"] / records * 1e6)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `measure` needs."""
    brokers.add_options(parser)
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--commit-interval", type=float, default=0.2, help="seconds")
    parser.add_argument("--mode", default="partitioned")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--guarantee", type=Guarantee, choices=list(Guarantee), default=Guarantee.EXACTLY_ONCE)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--reference", action="store_true", help="measure a plain Faust agent too")
    parser.add_argument("--reference-records", type=int, default=50_000)
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    options = parser.parse_args()
    with brokers.opened(options) as broker:
        report(broker, options)


def report(broker: Broker, options: argparse.Namespace) -> None:
    """Run and print each workload."""
    print("| workload | CPU µs/record | broker µs/record | records/s | peak MB | in plain loops |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in options.workloads:
        workload = WORKLOADS[name]
        runs = [measure(broker, workload, options.guarantee, options) for _ in range(options.repeat)]
        print(f"| {name} {workload.what} | {figures(runs)} |", flush=True)
    if options.reference:
        for name in ("W1", "W2-every"):
            cpu_us = reference(broker, name, options.reference_records)
            print(f"| plain Faust agent, {name} | {cpu_us:.1f} | | | |", flush=True)


def figures(runs: list[Run]) -> str:
    """The medians of some runs as the cells of a table."""
    cpu, broker, wall, loops = (
        statistics.median(getattr(run, cost) for run in runs) for cost in ("cpu_us", "broker_us", "wall_us", "loops")
    )
    spread = f"{min(run.cpu_us for run in runs):.2f}–{max(run.cpu_us for run in runs):.2f}"
    memory = max(run.memory_mb for run in runs)
    return f"{cpu:.2f} ({spread}) | {broker:.2f} | {1e6 / wall:,.0f} | {memory:.0f} | {loops:.1f}"


if __name__ == "__main__":
    main()

"""What a steady stream costs: CPU of worker and broker, in % of a core, at a fixed rate and with many partitions.

The records come from a process of its own, which is not counted. What the broker needs to take them in, without any
worker, is measured beside.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from benchmarks import broker as brokers
from benchmarks import process
from benchmarks.broker import Broker
from benchmarks.cpu import plain_loop_us
from benchmarks.order import Order, new_name
from benchmarks.pacer import Pace
from benchmarks.topics import await_topic, create_topic, delete_topics, values
from benchmarks.workloads import WORKLOADS
from headrace.agents.config import Guarantee

LINGER_MS = 5.0
"""The default of Kafka's clients."""
AFTER_S = 2
"""The sender goes on for this long after the measurement."""
CAUGHT_UP_S = 5.0
"""A worker that keeps up has written everything this soon after the last record."""


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU time in % of a core."""

    worker: float
    broker: float
    loops: float
    """CPU time of both per record, in plain loops."""


def measure_ingest(broker: Broker, partitions: int, options: argparse.Namespace) -> Usage:
    """The broker alone with the sender."""
    source = new_name("ingest")
    create_topic(broker.address, source, partitions)
    plain = [plain_loop_us()]
    with process.started("pacer", asdict(pace_of(broker, source, options))) as sender:
        time.sleep(options.warm_up)
        (broker_cpu,) = usage(options.seconds, broker.cpu_s)
        sender.answer()
    plain.append(plain_loop_us())
    delete_topics(broker.address, source)
    return Usage(0.0, broker_cpu, in_loops(broker_cpu, options.rate, plain))


def measure(broker: Broker, partitions: int, guarantee: Guarantee, options: argparse.Namespace) -> Usage:
    """One run; SystemExit where the worker does not keep up, or its output is wrong."""
    workload = WORKLOADS[options.workload]
    source = new_name("steady")
    create_topic(broker.address, source, partitions)
    order = Order(
        broker.address,
        new_name(workload.name),
        workload.sql,
        source,
        guarantee,
        options.commit_interval,
        to_end=False,
    )
    pace = pace_of(broker, source, options)
    plain = [plain_loop_us()]
    with process.started("worker", asdict(order)) as worker:
        await_topic(broker.address, order.sink)
        with process.started("pacer", asdict(pace)) as sender:
            time.sleep(options.warm_up)
            worker_cpu, broker_cpu = usage(options.seconds, worker.cpu_s, broker.cpu_s)
            sender.answer()
        wrong = still_wrong(lambda: workload.check(pace.count, values(broker.address, order.sink)))
        worker.stop()
    if wrong:
        raise SystemExit(f"{CAUGHT_UP_S:.0f} s after the last record: {wrong}")
    plain.append(plain_loop_us())
    for prefix in (order.app, source):
        delete_topics(broker.address, prefix)
    return Usage(worker_cpu, broker_cpu, in_loops(worker_cpu + broker_cpu, options.rate, plain))


def pace_of(broker: Broker, source: str, options: argparse.Namespace) -> Pace:
    seconds = options.warm_up + options.seconds + AFTER_S
    return Pace(broker.address, source, WORKLOADS[options.workload].source, options.rate, seconds, LINGER_MS)


def usage(seconds: int, *cpu_s: Callable[[], float]) -> list[float]:
    """What each of some processes uses in the time that follows, in % of a core."""
    started, before = time.monotonic(), [clock() for clock in cpu_s]
    time.sleep(seconds)
    elapsed = time.monotonic() - started
    return [(clock() - used) / elapsed * 100 for clock, used in zip(cpu_s, before, strict=True)]


def in_loops(percent: float, rate: int, plain_us: list[float]) -> float:
    return percent / 100 / rate * 1e6 / statistics.mean(plain_us)


def still_wrong(wrong: Callable[[], str | None]) -> str | None:
    """What is wrong with the output once a worker that keeps up has written all of it; None as soon as nothing is."""
    deadline = time.monotonic() + CAUGHT_UP_S
    while (reason := wrong()) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    return reason


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    brokers.add_options(parser)
    parser.add_argument("--workload", choices=list(WORKLOADS), default="W2-rekeyed")
    parser.add_argument("--rate", type=int, default=50_000, help="records in a second")
    parser.add_argument("--warm-up", type=int, default=20, help="seconds before the measurement")
    parser.add_argument("--seconds", type=int, default=20, help="of measurement")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--commit-interval", type=float, default=0.2, help="seconds")
    parser.add_argument("--guarantee", type=Guarantee, action="append", help="without it, both in turn")
    parser.add_argument("partitions", nargs="*", type=int, default=[16, 32])
    options = parser.parse_args()
    with brokers.opened(options) as broker:
        print("| partitions | guarantee | worker % | broker % | together % | in plain loops |")
        print("| --- | --- | --- | --- | --- | --- |")
        for partitions in options.partitions:
            report(broker, partitions, options)


def report(broker: Broker, partitions: int, options: argparse.Namespace) -> None:
    """Run each case in turn, and print the medians."""
    guarantees = options.guarantee or list(Guarantee)
    runs: dict[str, list[Usage]] = {"no worker": [], **{guarantee: [] for guarantee in guarantees}}
    for _ in range(options.repeat):
        runs["no worker"].append(measure_ingest(broker, partitions, options))
        for guarantee in guarantees:
            runs[guarantee].append(measure(broker, partitions, guarantee, options))
    for case, usages in runs.items():
        cells = [
            [use.worker for use in usages],
            [use.broker for use in usages],
            [use.worker + use.broker for use in usages],
            [use.loops for use in usages],
        ]
        print(f"| {partitions} | {case} | {' | '.join(map(median, cells))} |", flush=True)


def median(values: list[float]) -> str:
    """The median, and between what it lies."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


if __name__ == "__main__":
    main()

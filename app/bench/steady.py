"""What a steady stream costs: CPU of worker and broker, in % of a core, at a fixed rate and with many partitions.

The records come from a process of its own, which is not counted. What the broker needs to take them in, without any
worker, is measured beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from headrace.agents.config import Guarantee
from headrace.app.bench import process
from headrace.app.bench.broker import Broker
from headrace.app.bench.cpu import plain_loop_us
from headrace.app.bench.measurements import Steady
from headrace.app.bench.order import Order, new_name
from headrace.app.bench.pacer import Pace
from headrace.app.bench.throughput import WrongResultError
from headrace.app.bench.topics import await_topic, create_topic, delete_topics, read_results
from headrace.app.bench.workloads import Workload

LINGER_MS = 5.0
"""The default of Kafka's clients."""
AFTER_S = 2
"""The sender goes on for this long after the measurement."""
CAUGHT_UP_S = 5.0
"""A worker that keeps up has written everything this soon after the last record."""


@dataclass(frozen=True, slots=True)
class Plan:
    workload: Workload
    partitions: Sequence[int]
    rate: int
    """Records in a second."""
    warm_up: int
    """Seconds before the measurement."""
    seconds: int
    commit_interval_s: float
    repeat: int

    @property
    def sent(self) -> int:
        return self.rate * (self.warm_up + self.seconds + AFTER_S)


def measure(broker: Broker, plan: Plan, guarantees: Sequence[Guarantee]) -> Iterator[Steady]:
    """The broker alone, then the worker with each guarantee, for each number of partitions, so many times.

    WrongResultError where the worker does not keep up, or its output is wrong.
    """
    for partitions in plan.partitions:
        for number in range(plan.repeat):
            yield _measure_ingest(broker, partitions, plan, number)
            for guarantee in guarantees:
                yield _measure(broker, partitions, guarantee, plan, number)


def _measure_ingest(broker: Broker, partitions: int, plan: Plan, number: int) -> Steady:
    """The broker alone with the sender."""
    source = new_name("ingest")
    create_topic(broker.address, source, partitions)
    before_us = plain_loop_us()
    with process.started("pacer", asdict(_pace(broker, source, plan))) as sender:
        time.sleep(plan.warm_up)
        (broker_cpu,) = usage(plan.seconds, broker.cpu_s)
        sender.answer()
    delete_topics(broker.address, source)
    return _measurement(plan, partitions, None, number, 0.0, broker_cpu, before_us)


def _measure(broker: Broker, partitions: int, guarantee: Guarantee, plan: Plan, number: int) -> Steady:
    source = new_name("steady")
    create_topic(broker.address, source, partitions)
    order = Order(
        broker.address,
        new_name(plan.workload.name),
        plan.workload.sql,
        source,
        guarantee,
        plan.commit_interval_s,
        to_end=False,
    )
    before_us = plain_loop_us()
    with process.started("worker", asdict(order)) as worker:
        worker.hear()
        worker.go()
        await_topic(broker.address, order.sink)
        with process.started("pacer", asdict(_pace(broker, source, plan))) as sender:
            time.sleep(plan.warm_up)
            worker_cpu, broker_cpu = usage(plan.seconds, worker.cpu_s, broker.cpu_s)
            sender.answer()
        wrong = still_wrong(lambda: _wrong(broker, order.sink, plan))
        worker.stop()
    if wrong:
        raise WrongResultError(f"{plan.workload.name}, {CAUGHT_UP_S:.0f} s after the last record: {wrong}")
    for prefix in (order.app, source):
        delete_topics(broker.address, prefix)
    assert worker_cpu is not None
    return _measurement(plan, partitions, guarantee, number, worker_cpu, broker_cpu, before_us)


def _measurement(
    plan: Plan,
    partitions: int,
    guarantee: Guarantee | None,
    number: int,
    worker_percent: float,
    broker_percent: float | None,
    before_us: float,
) -> Steady:
    return Steady(
        scenario=plan.workload.name,
        partitions=partitions,
        guarantee=guarantee,
        rate=plan.rate,
        seconds=plan.seconds,
        commit_interval_s=plan.commit_interval_s,
        repeat=number,
        worker_percent=round(worker_percent, 1),
        broker_percent=None if broker_percent is None else round(broker_percent, 1),
        plain_us=round((before_us + plain_loop_us()) / 2, 4),
    )


def _pace(broker: Broker, source: str, plan: Plan) -> Pace:
    seconds = plan.warm_up + plan.seconds + AFTER_S
    return Pace(broker.address, source, plan.workload.source, plan.rate, seconds, LINGER_MS)


def _wrong(broker: Broker, sink: str, plan: Plan) -> str | None:
    results = plan.workload.new_results
    read_results(broker.address, sink, results)
    return plan.workload.check(plan.sent, results)


def usage(seconds: int, *cpu_s: Callable[[], float | None]) -> list[float | None]:
    """What each of some processes uses in the time that follows, in % of a core; None where it is not known."""
    started, before = time.monotonic(), [clock() for clock in cpu_s]
    time.sleep(seconds)
    elapsed = time.monotonic() - started
    return [
        None if used is None or (now := clock()) is None else (now - used) / elapsed * 100
        for clock, used in zip(cpu_s, before, strict=True)
    ]


def still_wrong(wrong: Callable[[], str | None]) -> str | None:
    """What is wrong with the output once a worker that keeps up has written all of it; None as soon as nothing is."""
    deadline = time.monotonic() + CAUGHT_UP_S
    while (reason := wrong()) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    return reason

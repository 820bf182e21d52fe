"""Runs from topic to topic: workers of one app, and the plain Faust agent, each run's results read back."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

from headrace.agents.config import Guarantee
from headrace.app.bench import budget, process
from headrace.app.bench.broker import Broker
from headrace.app.bench.case import Case, UsedBy, measured
from headrace.app.bench.cpu import plain_loop_us
from headrace.app.bench.measurements import Budget, Throughput
from headrace.app.bench.order import FaustOrder, Order, new_name
from headrace.app.bench.results import Results
from headrace.app.bench.topics import create_topic, delete_topics, load, read_results

REFERENCE_S = 300.0


def run(
    case: Case, broker: Broker, guarantee: Guarantee, commit_interval_s: float, repeat: int
) -> tuple[Throughput, Results]:
    """One run of a case to the end of its source, and its results."""
    cost, results = _ran(case, broker, guarantee, commit_interval_s, "worker")
    return measured(case, guarantee, commit_interval_s, repeat, cost, results), results


def run_by_step(case: Case, broker: Broker, guarantee: Guarantee, commit_interval_s: float) -> tuple[Budget, Results]:
    """One run of a case with one worker, its CPU time by step, and its results."""
    cost, results = _ran(case, broker, guarantee, commit_interval_s, "budget")
    (used,) = cost.workers
    return budget.budget(case, used, cost.plain_us), results


def _ran(
    case: Case, broker: Broker, guarantee: Guarantee, commit_interval_s: float, module: str
) -> tuple[UsedBy, Results]:
    """What workers of a module used, and their results."""
    source = load(broker.address, case.workload.source, case.records, case.partitions)
    order = Order(
        broker.address,
        new_name(case.workload.name),
        case.workload.sql,
        source,
        guarantee,
        commit_interval_s,
        case.mode,
    )
    before_us, before_s = plain_loop_us(), broker.cpu_s()
    with ExitStack() as stack:
        workers = [
            stack.enter_context(process.started(module, asdict(replace(order, slot=slot))))
            for slot in range(case.workers)
        ]
        for worker in workers:
            worker.hear()
        for worker in workers:
            worker.go()
        used: list[Any] = [worker.answer() for worker in workers]
    cost = UsedBy(used, _since(broker, before_s), (before_us + plain_loop_us()) / 2)
    results = _results(case, broker, order.sink)
    delete_topics(broker.address, order.app)
    return cost, results


def reference(case: Case, broker: Broker, repeat: int) -> tuple[Throughput, Results]:
    """One run of a plain Faust agent that does the same as a workload (one of `order.REFERENCES`)."""
    source = load(broker.address, case.workload.source, case.records, case.partitions)
    name = new_name(f"faust-{case.workload.name}")
    sink = f"{name}-sink"
    create_topic(broker.address, sink, case.partitions)
    order = FaustOrder(broker.address, name, case.workload.name, source, sink, case.partitions, case.records)
    before_us, before_s = plain_loop_us(), broker.cpu_s()
    with process.started("faust_agent", asdict(order)) as agent:
        used = agent.answer(REFERENCE_S)
    cost = UsedBy([used], _since(broker, before_s), (before_us + plain_loop_us()) / 2)
    results = _results(case, broker, sink)
    delete_topics(broker.address, name)
    return measured(case, None, None, repeat, cost, results), results


def _since(broker: Broker, before_s: float | None) -> float | None:
    now_s = broker.cpu_s()
    return None if now_s is None or before_s is None else now_s - before_s


def _results(case: Case, broker: Broker, sink: str) -> Results:
    results = case.workload.new_results
    read_results(broker.address, sink, results)
    return results

"""How long a record takes: from when it is due at the source to when a reader of committed records can read its result.

1,000 records a second from one process, each with the time at which it is due; a reader process of the sink, and one of
the source topic beside it, which says what Kafka and this machine take by themselves. All samples are kept, so the
percentiles are exact.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks import broker as brokers
from benchmarks import process
from benchmarks.broker import Broker
from benchmarks.order import Order, new_name
from benchmarks.pacer import Pace
from benchmarks.reader import Reading
from benchmarks.topics import PARTITIONS, await_topic, create_topic, delete_topics
from headrace.agents.config import Guarantee

SOURCE = "CREATE STREAM probes (grp VARCHAR, due BIGINT) WITH (topic = '{source}');\n"
PROJECTED = SOURCE + "CREATE STREAM results WITH (topic = '{sink}') AS SELECT grp, due FROM probes;"
GROUPED = (
    SOURCE
    + "CREATE TABLE results WITH (topic = '{sink}', changes = 'every') AS "
    + "SELECT grp, MAX(due) AS due FROM probes GROUP BY grp;"
)
QUANTILES = (0.5, 0.95, 0.99, 0.999, 1.0)
AFTER_S = 1
"""The sender goes on for this long after the measurement."""
ALLOWANCE_MS = 50


@dataclass(frozen=True, slots=True)
class Case:
    what: str
    guarantee: Guarantee
    sql: str
    stages: int

    def target_ms(self, commit_interval_s: float) -> float:
        """What the 99th percentile is to stay below."""
        waits = self.stages if self.guarantee is Guarantee.EXACTLY_ONCE else 0
        return waits * commit_interval_s * 1000 + ALLOWANCE_MS


CASES = (
    Case("at_least_once, SELECT", Guarantee.AT_LEAST_ONCE, PROJECTED, 1),
    Case("exactly_once, SELECT", Guarantee.EXACTLY_ONCE, PROJECTED, 1),
    Case("exactly_once, GROUP BY re-keyed", Guarantee.EXACTLY_ONCE, GROUPED, 2),
)


@dataclass(frozen=True, slots=True)
class Latencies:
    """In ms, ascending."""

    sink: list[float]
    raw: list[float]


def measure(broker: Broker, case: Case, options: argparse.Namespace) -> Latencies:
    """One run of a case; SystemExit where the sink has not exactly one result for each record."""
    source = new_name("probes")
    create_topic(broker.address, source, PARTITIONS)
    order = Order(
        broker.address, new_name("latency"), case.sql, source, case.guarantee, options.commit_interval, to_end=False
    )
    pace = Pace(
        broker.address, source, "probes", options.rate, options.warm_up + options.seconds + AFTER_S, linger_ms=0
    )
    with process.started("worker", asdict(order)) as worker:
        await_topic(broker.address, order.sink)
        with (
            process.started("reader", asdict(Reading(broker.address, source, pace.count))) as raw,
            process.started("reader", asdict(Reading(broker.address, order.sink, pace.count))) as sink,
            process.started("pacer", asdict(pace)) as sender,
        ):
            sender.answer()
            sent, results = raw.answer(), sink.answer()
        worker.stop()
    if sorted(sent[0]) != sorted(results[0]):
        raise SystemExit(f"{case.what}: {len(results[0])} results of {len(sent[0])} records, or not theirs")
    for prefix in (order.app, source):
        delete_topics(broker.address, prefix)
    first_us = min(sent[0]) + options.warm_up * 1_000_000
    return Latencies(latencies_ms(results, first_us, options), latencies_ms(sent, first_us, options))


def latencies_ms(samples: Sequence[Sequence[int]], first_us: int, options: argparse.Namespace) -> list[float]:
    """Latency of each record that was due in the measured time, ascending."""
    last_us = first_us + options.seconds * 1_000_000
    return sorted((read - due) / 1000 for due, read in zip(*samples, strict=True) if first_us <= due < last_us)


def quantile(ascending: Sequence[float], q: float) -> float:
    """The smallest value that at least this part of all values does not exceed (nearest rank)."""
    return ascending[math.ceil(q * len(ascending)) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    brokers.add_options(parser)
    parser.add_argument("--rate", type=int, default=1_000, help="records in a second")
    parser.add_argument("--warm-up", type=int, default=15, help="seconds before the measurement")
    parser.add_argument("--seconds", type=int, default=60, help="of measurement")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--commit-interval", type=float, default=0.2, help="seconds")
    options = parser.parse_args()
    with brokers.opened(options) as broker:
        print("| case | target p99 ms | p50 | p95 | p99 | p99.9 | max | raw p50 | p95 | p99 | p99.9 | max |")
        print("| --- " * 12 + "|")
        for _ in range(options.repeat):
            for case in CASES:
                took = measure(broker, case, options)
                cells = [f"{quantile(each, q):.1f}" for each in (took.sink, took.raw) for q in QUANTILES]
                target = f"{case.target_ms(options.commit_interval):.0f}"
                print(f"| {case.what} | {target} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

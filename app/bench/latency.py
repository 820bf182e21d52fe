"""How long a record takes: from when it is due at the source to when a reader of committed records can read its result.

Records at a steady rate from one process, each with the time at which it is due; a reader process of the sink, and one
of the source topic beside it, which says what Kafka and this machine take by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from headrace.agents.config import Guarantee
from headrace.app.bench import process
from headrace.app.bench.broker import Broker
from headrace.app.bench.measurements import Latency
from headrace.app.bench.order import Order, new_name
from headrace.app.bench.pacer import Pace
from headrace.app.bench.reader import Reading
from headrace.app.bench.throughput import WrongResultError
from headrace.app.bench.topics import await_topic, create_topic, delete_topics
from headrace.app.errors import OutsideError

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

    NewHistogram = Callable[[int, int, int], HdrHistogram]

PARTITIONS = 4
SOURCE = "CREATE STREAM probes (grp VARCHAR, due BIGINT) WITH (topic = '{source}');\n"
PROJECTED = SOURCE + "CREATE STREAM results WITH (topic = '{sink}') AS SELECT grp, due FROM probes;"
GROUPED = (
    SOURCE
    + "CREATE TABLE results WITH (topic = '{sink}', changes = 'every') AS "
    + "SELECT grp, MAX(due) AS due FROM probes GROUP BY grp;"
)
AFTER_S = 1
"""The sender goes on for this long after the measurement."""
ALLOWANCE_MS = 50
HIGHEST_US = 600_000_000
DIGITS = 3
"""Significant digits of a latency in µs."""


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
class Plan:
    rate: int
    """Records in a second."""
    warm_up: int
    """Seconds before the measurement."""
    seconds: int
    commit_interval_s: float
    repeat: int


def measure(broker: Broker, plan: Plan, guarantees: Sequence[Guarantee]) -> Iterator[Latency]:
    """Each case of the guarantees in turn, so many times."""
    new_histogram = histogram_type()
    for _ in range(plan.repeat):
        for case in CASES:
            if case.guarantee in guarantees:
                yield _measure(broker, case, plan, new_histogram)


def histogram_type() -> NewHistogram:
    """OutsideError where the package is not installed."""
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError:
        raise OutsideError("missing: the package hdrhistogram", "pip install 'headrace[bench]'") from None

    def new(lowest: int, highest: int, digits: int) -> HdrHistogram:
        return HdrHistogram(lowest, highest, digits)

    return new


def _measure(broker: Broker, case: Case, plan: Plan, new_histogram: NewHistogram) -> Latency:
    """One run of a case; WrongResultError where the sink has not exactly one result for each record."""
    source = new_name("probes")
    create_topic(broker.address, source, PARTITIONS)
    order = Order(
        broker.address, new_name("latency"), case.sql, source, case.guarantee, plan.commit_interval_s, to_end=False
    )
    pace = Pace(broker.address, source, "probes", plan.rate, plan.warm_up + plan.seconds + AFTER_S, linger_ms=0)
    with process.started("worker", asdict(order)) as worker:
        worker.hear()
        worker.go()
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
        raise WrongResultError(f"{case.what}: {len(results[0])} results of {len(sent[0])} records, or not theirs")
    for prefix in (order.app, source):
        delete_topics(broker.address, prefix)
    first_us = min(sent[0]) + plan.warm_up * 1_000_000
    took, plain = new_histogram(1, HIGHEST_US, DIGITS), new_histogram(1, HIGHEST_US, DIGITS)
    for histogram, samples in ((took, results), (plain, sent)):
        for latency_us in latencies_us(samples, first_us, plan.seconds):
            histogram.record_value(latency_us)
    return Latency(
        case=case.what,
        guarantee=case.guarantee,
        stages=case.stages,
        rate=plan.rate,
        seconds=plan.seconds,
        commit_interval_s=plan.commit_interval_s,
        target_p99_ms=case.target_ms(plan.commit_interval_s),
        records=took.get_total_count(),
        **percentiles_ms(took, ""),
        **percentiles_ms(plain, "plain_"),
    )


def latencies_us(samples: Sequence[Sequence[int]], first_us: int, seconds: int) -> list[int]:
    """Latency of each record that was due in the measured time, counted from when it was due, not from when it was
    sent: a pause of the sender is seen by all records that would have been sent in it (else: coordinated omission).

    `samples` are when records were due and when they were read.
    """
    last_us = first_us + seconds * 1_000_000
    return [max(read - due, 1) for due, read in zip(*samples, strict=True) if first_us <= due < last_us]


def percentiles_ms(histogram: HdrHistogram, prefix: str) -> dict[str, float]:
    """The percentiles of a measurement, under their names there."""
    quantiles = {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99, "p999_ms": 99.9, "max_ms": 100}
    return {
        prefix + name: round(histogram.get_value_at_percentile(percent) / 1000, 2)
        for name, percent in quantiles.items()
    }

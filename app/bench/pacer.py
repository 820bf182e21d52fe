"""A producer at a fixed rate, in a process of its own: each record has a time at which it is due, and is sent then.

A record that is sent late still counts from when it was due, so that a pause of the sender or of the broker is seen by
every record that would have been sent in it (else: coordinated omission).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from headrace.app.bench.process import say
from headrace.app.bench.topics import producer
from headrace.app.bench.workloads import probe, records

TICK_S = 0.001
"""The shortest sleep: at more than a thousand records a second some are due together."""
POLL_RECORDS = 1_000
FLUSH_S = 30.0


@dataclass(frozen=True, slots=True)
class Pace:
    """What `python -m headrace.app.bench.pacer` sends."""

    bootstrap: str
    topic: str
    kind: str
    """Kind of records, as in `workloads.records`; or `probes`, which carry the time at which they were due."""
    rate: int
    """Records in a second."""
    seconds: int
    linger_ms: float

    @property
    def count(self) -> int:
        return self.rate * self.seconds


def due_times(rate: int, count: int) -> Iterator[int]:
    """When each record is due, in µs of the monotonic clock (the same in all processes); given out not before then."""
    start_us = time.monotonic_ns() // 1000
    for number in range(count):
        due_us = start_us + number * 1_000_000 // rate
        early_s = due_us / 1e6 - time.monotonic()
        if early_s > 0:
            time.sleep(max(early_s, TICK_S))
        yield due_us


def paced(pace: Pace) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each record, when it is due."""
    due = due_times(pace.rate, pace.count)
    if pace.kind == "probes":
        return (probe(number, due_us) for number, due_us in enumerate(due))
    return (record for record, _ in zip(records(pace.kind, pace.count), due, strict=True))


def main() -> None:
    pace = Pace(**json.loads(sys.argv[1]))
    to = producer(pace.bootstrap, pace.linger_ms)
    for number, (key, value) in enumerate(paced(pace)):
        to.produce(pace.topic, value, key)
        if number % POLL_RECORDS == 0:
            to.poll(0)
    if left := to.flush(FLUSH_S):
        raise SystemExit(f"{left} records were not sent")
    say({"sent": pace.count})


if __name__ == "__main__":
    main()

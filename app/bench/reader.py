"""A reader of committed records, in a process of its own: notes when each record that carries a time can be read."""

from __future__ import annotations

import json
import sys
import time
from array import array
from dataclasses import dataclass

import msgspec

from headrace.app.bench.process import say
from headrace.app.bench.topics import all_partitions, consumer

SILENCE_S = 20.0
"""A reader that got nothing for this long ends with what it has."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What `python -m headrace.app.bench.reader` reads: probes (see `workloads.probe`), from a topic's beginning."""

    bootstrap: str
    topic: str
    count: int
    """Number of records after which it ends."""


class Probe(msgspec.Struct, gc=False):
    due: int


def read(reading: Reading) -> tuple[array[int], array[int]]:
    """Of each record, when it was due and when it was read, in µs of the monotonic clock."""
    source = consumer(reading.bootstrap, **{"fetch.wait.max.ms": 10, "fetch.min.bytes": 1})
    source.assign(all_partitions(source, reading.topic))
    decode = msgspec.json.Decoder(Probe).decode
    due_us, read_us = array("q"), array("q")
    while len(due_us) < reading.count:
        message = source.poll(SILENCE_S)
        now_us = time.monotonic_ns() // 1000
        if message is None:
            break
        if message.error():
            raise SystemExit(str(message.error()))
        due_us.append(decode(message.value() or b"").due)
        read_us.append(now_us)
    source.close()
    return due_us, read_us


def main() -> None:
    due_us, read_us = read(Reading(**json.loads(sys.argv[1])))
    say([due_us.tolist(), read_us.tolist()])


if __name__ == "__main__":
    main()

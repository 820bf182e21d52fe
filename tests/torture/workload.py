"""What flows while workers are tortured: numbered hits, so that the truth about any part of them can be computed."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from zlib import crc32

from confluent_kafka import Producer
from tests.integration.sql_app import SqlApp

PARTITIONS = 4
PAGES = 97
KINDS = 31
PER_MS = 5
"""Hits in a millisecond of event time."""
START_MS = 1_700_000_000_000
WINDOW_MS = 1_000

SQL = """
CREATE STREAM hits (id BIGINT, page VARCHAR KEY, kind VARCHAR, amount BIGINT, at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '1' SECOND) WITH (topic = '{name}-in');
CREATE TABLE pages WITH (topic = '{name}-pages', changes = 'latest') AS
SELECT page, COUNT(*) AS hits, SUM(amount) AS amount, MIN(id) AS oldest, MAX(id) AS newest FROM hits
GROUP BY page EMIT CHANGES;
CREATE TABLE kinds WITH (topic = '{name}-kinds', changes = 'latest') AS
SELECT kind, COUNT(*) AS hits, SUM(amount) AS amount, MIN(id) AS oldest, MAX(id) AS newest FROM hits
GROUP BY kind EMIT CHANGES;
CREATE TABLE windows WITH (topic = '{name}-windows') AS
SELECT kind, window_start, COUNT(DISTINCT id) AS ids, MIN(id) AS oldest, MAX(id) AS newest, COUNT(*) AS hits FROM hits
WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY kind EMIT FINAL;
"""


def page_of(number: int) -> str:
    return f"p{number % PAGES}"


def kind_of(number: int) -> str:
    return f"k{number * 7919 % KINDS}"


def amount_of(number: int) -> int:
    return number % 1_000


class HitProducer(threading.Thread):
    """Writes hits at a rate, keyed by page, until it is told to stop; then Kafka has `count` of them."""

    def __init__(self, app: SqlApp, per_s: int) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self.failed = threading.Event()
        self._topic = app.source
        self._per_s = per_s
        self._enough = threading.Event()
        self._producer = Producer(
            {"bootstrap.servers": app.bootstrap, "enable.idempotence": True, "linger.ms": 5, "compression.type": "lz4"}
        )

    def run(self) -> None:
        try:
            self._produce()
        except BaseException:
            self.failed.set()
            raise

    def _produce(self) -> None:
        began = time.monotonic()
        while not self._enough.wait(0.02):
            for number in range(self.count, int((time.monotonic() - began) * self._per_s)):
                page = page_of(number)
                value = {
                    "id": number,
                    "page": page,
                    "kind": kind_of(number),
                    "amount": amount_of(number),
                    "at": START_MS + number // PER_MS,
                }
                self._producer.produce(
                    self._topic, json.dumps(value), page, partition=crc32(page.encode()) % PARTITIONS
                )
                self.count += 1
            self._producer.poll(0)
        assert self._producer.flush(60) == 0

    def finish(self) -> None:
        self._enough.set()
        self.join()
        assert not self.failed.is_set()


def verify(app: SqlApp, count: int) -> str:
    """Compare the sinks of a run that has ended with the truth about `count` hits; what was repeated, in words.

    A crash may make hits count twice, so counts and sums may be above the truth; distinct ids, the oldest and the
    newest are exact whatever was repeated, and show all that was lost.
    """
    grouped = {"pages": defaultdict(list), "kinds": defaultdict(list)}
    windows = defaultdict(list)
    for number in range(count):
        grouped["pages"][page_of(number)].append(number)
        grouped["kinds"][kind_of(number)].append(number)
        at = START_MS + number // PER_MS
        windows[kind_of(number), at - at % WINDOW_MS].append(number)
    repeated = {}
    for sink, truth in grouped.items():
        rows = {
            key.decode(): json.loads(value) for key, (value, _) in app.contents(f"{app.name}-{sink}").items() if key
        }
        assert rows.keys() == truth.keys(), sink
        for key, numbers in truth.items():
            row = rows[key]
            assert (row["oldest"], row["newest"]) == (numbers[0], numbers[-1]), (sink, row)
            assert row["hits"] >= len(numbers), (sink, "hits are lost", row, len(numbers))
            assert row["amount"] >= sum(map(amount_of, numbers)), (sink, "amounts are lost", row)
        repeated[sink] = sum(row["hits"] for row in rows.values()) - count
    written = app.rows(f"{app.name}-windows")
    for row in written:
        numbers = windows[row["kind"], row["window_start"]]
        assert (row["ids"], row["oldest"], row["newest"]) == (len(numbers), numbers[0], numbers[-1]), row
    assert {(row["kind"], row["window_start"]) for row in written} == windows.keys()
    return f"{count} hits; counted again {repeated}; {len(written)} rows of {len(windows)} windows"

"""What flows while workers are tortured: numbered hits, so that the truth about any part of them can be computed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple
from zlib import crc32

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer

PARTITIONS = 4
GROWN = 5
"""Partitions of a source that has grown."""
KINDS = 31
PER_MS = 5
"""Hits in a millisecond of event time."""
START_MS = 1_700_000_000_000
WINDOW_MS = 1_000
DISORDER_MS = 900
"""Below the declared delay: no hit is late."""
FLUSH_S = 90.0


class Hit(NamedTuple):
    """A row of the source. Its number says everything else."""

    id: int
    page: str
    kind: str
    amount: int
    at: int
    partition: int
    """Where it is in the source."""

    @property
    def window_start(self) -> int:
        return self.at - self.at % WINDOW_MS

    @property
    def row(self) -> dict[str, object]:
        """Its columns."""
        return {"id": self.id, "page": self.page, "kind": self.kind, "amount": self.amount, "at": self.at}


def hit(number: int, pages: int, partitions: int = PARTITIONS) -> Hit:
    at = START_MS + number // PER_MS - number * 6_151 % DISORDER_MS
    page = f"p{number % pages}"
    partition = crc32(page.encode()) % partitions
    return Hit(number, page, f"k{number * 7_919 % KINDS}", number % 1_000, at, partition)


class Rows(Enum):
    """How the records of a sink follow from the hits of a key."""

    COPIES = "a record for each hit"
    EVERY = "the row so far after each hit"
    LATEST = "the row so far, now and then, and at the end"
    FINAL = "one row, when the window has closed"
    NUMBERED = "a record for each hit, in order of time, with its number and the hit before it"


@dataclass(frozen=True, slots=True)
class Sink:
    """A sink topic `<app>-<name>` and what must be in it."""

    name: str
    rows: Rows
    key: tuple[str, ...]
    """Columns of a hit, and of a row, that say which hits a row is about."""
    amount_min: int = 0
    """Hits below are filtered out."""
    gap_ms: int | None = None
    """Of the sessions that `window_start` is the start of."""
    is_table: bool = False
    """Only what is left counts: the last row of each record key, without those that were taken back."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Queries of one app. `{name}` stands for the app."""

    sql: str
    sinks: tuple[Sink, ...]
    may_grow: bool = False
    """Whether its source may get more partitions in mode partitioned: no state lies in them."""


_SOURCE = """
SET 'idle_timeout' = '1h';
CREATE STREAM hits (id BIGINT, page VARCHAR KEY, kind VARCHAR, amount BIGINT, at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '1' SECOND) WITH (topic = '{name}-in');
"""
_SUMS = "COUNT(*) AS hits, SUM(id) AS ids, SUM(amount) AS amount"
_WINDOW = "WINDOW TUMBLING (SIZE 1 SECOND)"

KEYED = Plan(
    f"""{_SOURCE}
CREATE STREAM copies WITH (topic = '{{name}}-copies') AS SELECT id, page, amount FROM hits;
CREATE TABLE pages WITH (topic = '{{name}}-pages', changes = 'latest') AS
SELECT page, {_SUMS} FROM hits GROUP BY page EMIT CHANGES;
CREATE TABLE page_changes WITH (topic = '{{name}}-page-changes', changes = 'every') AS
SELECT page, {_SUMS} FROM hits GROUP BY page EMIT CHANGES;
CREATE TABLE page_windows WITH (topic = '{{name}}-page-windows') AS
SELECT page, window_start, {_SUMS} FROM hits {_WINDOW} GROUP BY page EMIT FINAL;
""",
    (
        Sink("copies", Rows.COPIES, ("page",)),
        Sink("pages", Rows.LATEST, ("page",)),
        Sink("page-changes", Rows.EVERY, ("page",)),
        Sink("page-windows", Rows.FINAL, ("page", "window_start")),
    ),
)
"""Grouped by the key of the source: nothing is re-keyed, in neither mode."""

REKEYED = Plan(
    f"""{_SOURCE}
CREATE TABLE kinds WITH (topic = '{{name}}-kinds', changes = 'latest') AS
SELECT kind, {_SUMS} FROM hits GROUP BY kind EMIT CHANGES;
CREATE TABLE kind_changes WITH (topic = '{{name}}-kind-changes', changes = 'every') AS
SELECT kind, {_SUMS} FROM hits GROUP BY kind EMIT CHANGES;
CREATE TABLE kind_windows WITH (topic = '{{name}}-kind-windows') AS
SELECT kind, window_start, {_SUMS} FROM hits {_WINDOW} GROUP BY kind EMIT FINAL;
""",
    (
        Sink("kinds", Rows.LATEST, ("kind",)),
        Sink("kind-changes", Rows.EVERY, ("kind",)),
        Sink("kind-windows", Rows.FINAL, ("kind", "window_start")),
    ),
    may_grow=True,
)
"""Grouped by another column: through repartition topics as rows (every change) and as partial aggregates."""

CHAINED = Plan(
    f"""{_SOURCE}
CREATE STREAM large WITH (topic = '{{name}}-large') AS SELECT * FROM hits WHERE amount >= 500;
CREATE TABLE page_window_changes WITH (topic = '{{name}}-page-window-changes', changes = 'latest') AS
SELECT page, window_start, {_SUMS} FROM hits {_WINDOW} GROUP BY page EMIT CHANGES;
CREATE TABLE kind_windows WITH (topic = '{{name}}-kind-windows') AS
SELECT kind, window_start, {_SUMS} FROM large {_WINDOW} GROUP BY kind EMIT FINAL;
CREATE TABLE kind_window_changes WITH (topic = '{{name}}-kind-window-changes', changes = 'every') AS
SELECT kind, window_start, {_SUMS} FROM large {_WINDOW} GROUP BY kind EMIT CHANGES;
CREATE TABLE totals WITH (topic = '{{name}}-totals', changes = 'latest') AS
SELECT window_start, SUM(hits) AS hits, SUM(ids) AS ids, SUM(amount) AS amount FROM kind_windows
GROUP BY window_start EMIT CHANGES;
""",
    (
        Sink("large", Rows.COPIES, ("page",), amount_min=500),
        Sink("page-window-changes", Rows.LATEST, ("page", "window_start")),
        Sink("kind-windows", Rows.FINAL, ("kind", "window_start"), amount_min=500),
        Sink("kind-window-changes", Rows.EVERY, ("kind", "window_start"), amount_min=500),
        Sink("totals", Rows.LATEST, ("window_start",), amount_min=500),
    ),
)
"""Queries that read queries: filtered, re-keyed, windowed, and re-keyed again."""

SESSION_MS = 300
TIMED = Plan(
    f"""{_SOURCE}
CREATE TABLE page_sessions WITH (topic = '{{name}}-page-sessions') AS
SELECT page, window_start, {_SUMS} FROM hits WINDOW SESSION ({SESSION_MS} MILLISECONDS) GROUP BY page EMIT FINAL;
CREATE TABLE half_sessions WITH (topic = '{{name}}-half-sessions', changes = 'latest') AS
SELECT page, window_start, {_SUMS} FROM hits WINDOW SESSION ({SESSION_MS} MILLISECONDS) WHERE amount >= 500
GROUP BY page EMIT CHANGES;
CREATE STREAM numbered WITH (topic = '{{name}}-numbered') AS
SELECT kind, id, LAG(id) OVER hit AS before, ROW_NUMBER() OVER hit AS number FROM hits
WINDOW hit AS (PARTITION BY kind ORDER BY at);
""",
    (
        Sink("page-sessions", Rows.FINAL, ("page", "window_start"), gap_ms=SESSION_MS),
        Sink("half-sessions", Rows.FINAL, ("page", "window_start"), 500, gap_ms=SESSION_MS, is_table=True),
        Sink("numbered", Rows.NUMBERED, ("kind",)),
    ),
)
"""Sessions, whose keys change as they grow, and rows in order of event time."""

PLANS = {"timed": TIMED, "keyed": KEYED, "rekeyed": REKEYED, "chained": CHAINED}


class HitProducer(threading.Thread):
    """Writes hits at a rate, keyed by page, until it is told to stop; then Kafka has `count` of them.

    A broker that goes away is waited for, and nothing is written twice: the producer is idempotent and never gives up.
    """

    def __init__(self, bootstrap: str, topic: str, pages: int, per_s: int) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self.partitions = PARTITIONS
        """Of the source, that it writes to."""
        self.acknowledged = 0
        self.failure = ""
        self.failed = threading.Event()
        self._topic = topic
        self._pages = pages
        self._per_s = per_s
        self._enough = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "reconnect.backoff.max.ms": 1_000,
                "topic.metadata.refresh.interval.ms": 1_000,
                "linger.ms": 5,
                "compression.type": "lz4",
                "on_delivery": self._note,
            }
        )

    def _note(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self._fail(error.str())

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self.failed.set()

    def run(self) -> None:
        began = time.monotonic()
        try:
            while not self._enough.wait(0.02):
                self._produce(int((time.monotonic() - began) * self._per_s))
        except Exception as error:
            self._fail(repr(error))
            raise

    def _produce(self, until: int) -> None:
        for number in range(self.count, until):
            record = hit(number, self._pages, self.partitions)
            try:
                self._producer.produce(self._topic, orjson.dumps(record.row), record.page, partition=record.partition)
            except BufferError:
                break  # the broker is away: go on when it is back
            except KafkaException as error:
                if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:
                    raise
                break  # a new one, of which it hears soon
            self.count += 1
        self._producer.poll(0)

    def finish(self) -> None:
        """Write no more; wait until Kafka has everything."""
        self._enough.set()
        self.join()
        self._flush()

    def _flush(self) -> None:
        left = self._producer.flush(FLUSH_S)
        assert not self.failed.is_set(), f"the producer of the source failed: {self.failure}"
        assert left == 0, f"{left} records of the source were not acknowledged"
        assert self.acknowledged == self.count

    def touch_every_key(self) -> None:
        """After `finish`: one more hit of each page and each kind, so that the state of every group is used again."""
        self._produce(self.count + max(self._pages, KINDS))
        self._flush()


def hits_of(messages: Sequence[Any], pages: int, partitions: int) -> list[Hit]:
    """The hits that records of the source hold, in their order; KeyError where one is not where it was written."""
    hits = []
    for message in messages:
        number = orjson.loads(message.value())["id"]
        found = {each.partition: each for each in (hit(number, pages, count) for count in (partitions, PARTITIONS))}
        hits.append(found[message.partition()])
    return hits

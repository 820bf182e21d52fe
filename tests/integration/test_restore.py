"""Restores on a real broker: whatever the changelog looks like and whatever comes between, the state is all there."""

from __future__ import annotations

import itertools
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from tests.integration.edge_app import counting_topology
from tests.integration.edge_cluster import DEADLINE_S, IN_ORDER, EdgeApp, NewEdgeApp, records_of, wait_until
from tests.integration.sql_app import Input, NewSqlApp, Run, row, unique_name

from headrace.agents.changelog import RestoreCancelled, RestoreProgress, Restorer, Span
from headrace.agents.checkpoint import CHECKPOINT_KEY
from headrace.agents.cluster import Cluster
from headrace.agents.config import WorkerConfig
from headrace.agents.errors import KafkaFailure, TaskStopped
from headrace.agents.tables import MemoryStore, RestorableStore, RocksStore, UnusableState
from headrace.agents.topics import ensure_topics
from headrace.sql.runtime.records import Change, TopicPartition

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

Entries = dict[bytes, bytes]


def checkpoint(live: int) -> bytes:
    return json.dumps({"live": {"0": live}}).encode()


def transactions(bootstrap: str, transactional_id: str) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": transactional_id,
            "compression.type": "lz4",
            "linger.ms": 5,
            "batch.num.messages": 100_000,
            "queue.buffering.max.messages": 2_000_000,
            "retry.backoff.ms": 5,
        }
    )
    producer.init_transactions()
    return producer


class Changelog:
    """A changelog topic of one partition, what it should amount to, and who writes to it."""

    def __init__(self, bootstrap: str) -> None:
        self.config = WorkerConfig(bootstrap, unique_name("restore"), Path())
        self.partition = TopicPartition(f"{self.config.app}-changelog", 0)
        self.entries: Entries = {}
        self.end = 0
        """High watermark at the start of the last restore: a marker may come behind it."""
        self.cluster = Cluster(self.config)
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        # From a topic that is compacted only, Kafka deletes no records.
        topic = NewTopic(self.partition.topic, 1, config={"cleanup.policy": "compact,delete", "retention.ms": "-1"})
        self.admin.create_topics([topic])[topic.topic].result()
        self._bootstrap = bootstrap
        self._writer = self.new_writer()

    def new_writer(self) -> Producer:
        return transactions(self._bootstrap, unique_name("writer"))

    def write(self, writer: Producer, changes: Iterable[Change]) -> None:
        """Hand records over; when this returns, Kafka has them."""
        for key, value in changes:
            writer.produce(self.partition.topic, value, key, 0)
        assert writer.flush(DEADLINE_S) == 0

    def commit(self, changes: Mapping[bytes, bytes | None], live: int | None = None) -> None:
        """One commit as a worker makes it; `live` is a wrong number of entries."""
        self.entries |= {key: value for key, value in changes.items() if value is not None}
        for key in [key for key, value in changes.items() if value is None]:
            self.entries.pop(key, None)
        self._writer.begin_transaction()
        self.write(self._writer, changes.items())
        last = checkpoint(len(self.entries) if live is None else live)
        self.write(self._writer, [(CHECKPOINT_KEY, last)])
        self._writer.commit_transaction()

    def begin(self, changes: Mapping[bytes, bytes | None]) -> Producer:
        """A transaction of another producer that has not ended."""
        writer = self.new_writer()
        writer.begin_transaction()
        self.write(writer, changes.items())
        return writer

    def abort(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.begin(changes).abort_transaction()

    @property
    def span(self) -> Span:
        begins, ends = self.cluster.begin_offsets([self.partition]), self.cluster.end_offsets([self.partition])
        return Span(begins[self.partition], ends[self.partition])

    def restore(
        self,
        store: RestorableStore,
        span: Span | None = None,
        cancelled: Callable[[RestoreProgress], bool] = lambda _: False,
        timeout_s: float = DEADLINE_S,
    ) -> RestoreProgress:
        config = WorkerConfig(self._bootstrap, self.config.app, Path(), restore_timeout_s=timeout_s)
        progress = RestoreProgress(self.partition)
        span = span or self.span
        self.end = span.end
        repairs = Restorer(config).restore(store, self.partition, span, progress, lambda: cancelled(progress))
        assert not repairs
        return progress

    def assert_restored(self, store: RestorableStore) -> None:
        """The store is as the commits have made it, and says so."""
        assert store.position == self.end
        assert dict(store.scan(b"", CHECKPOINT_KEY)) == self.entries
        assert store.get(CHECKPOINT_KEY) == (checkpoint(len(self.entries)) if self.span.end else None)

    def close(self) -> None:
        self.cluster.delete([self.partition.topic])


@pytest.fixture
def changelog(broker: str) -> Iterator[Changelog]:
    changelog = Changelog(broker)
    yield changelog
    changelog.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RocksStore]:
    store = RocksStore(tmp_path / "store")
    yield store
    store.close()


def numbered(count: int, value: bytes = b"v") -> dict[bytes, bytes | None]:
    return {b"\x00%d" % number: value for number in range(count)}


# What a changelog may look like


def test_empty_changelog_is_an_empty_store(changelog: Changelog, store: RocksStore) -> None:
    changelog.restore(store)
    changelog.assert_restored(store)


def test_last_values_are_restored_and_deleted_keys_are_not(changelog: Changelog, store: RocksStore) -> None:
    changelog.commit({b"\x00a": b"1", b"\x00b": b"1", b"\x00c": b"1"})
    changelog.commit({b"\x00a": b"2", b"\x00b": None, b"\x00never": None})
    changelog.commit({})
    changelog.restore(store)
    changelog.assert_restored(store)
    assert changelog.entries == {b"\x00a": b"2", b"\x00c": b"1"}


def test_store_in_memory_is_restored_too(changelog: Changelog) -> None:
    changelog.commit(numbered(100))
    changelog.commit({b"\x001": None})
    memory = MemoryStore()
    changelog.restore(memory)
    changelog.assert_restored(memory)


def test_aborted_transactions_leave_nothing_and_are_passed_over(changelog: Changelog, store: RocksStore) -> None:
    changelog.abort({b"\x00a": b"aborted", b"\x00z": b"aborted", CHECKPOINT_KEY: checkpoint(2)})
    changelog.restore(store)
    assert store.position == changelog.end
    changelog.commit({b"\x00a": b"1"})
    changelog.abort({b"\x00a": b"aborted", CHECKPOINT_KEY: checkpoint(1)})
    changelog.abort(numbered(3_000, b"aborted"))
    changelog.restore(store)
    changelog.assert_restored(store)


def test_compacted_changelog_restores_what_is_left(changelog: Changelog, store: RocksStore, broker: str) -> None:
    for number in range(20):
        changelog.commit({b"\x00same": b"%d" % number, b"\x00gone": b"1", b"\x00%d" % number: b"1"})
    changelog.commit({b"\x00gone": None, b"\x003": None})
    written = changelog.span.end
    with cleaning_often(broker, changelog):

        def compacted() -> bool:
            changelog.commit({b"\x00last": b"1"})  # Kafka compacts what lies before the newest segment
            return sum(1 for _ in records_of(changelog.cluster, changelog.partition.topic)) < written // 2

        wait_until(compacted, "the changelog is compacted")
    progress = changelog.restore(store)
    assert progress.records < written // 2
    changelog.assert_restored(store)


class cleaning_often:  # noqa: N801 (a context manager)
    """The broker looks for something to compact ten times a second instead of every 15 s, and finds this topic."""

    def __init__(self, broker: str, changelog: Changelog) -> None:
        self._admin = AdminClient({"bootstrap.servers": broker})
        (self._broker,) = map(str, self._admin.list_topics(timeout=DEADLINE_S).brokers)
        self._topic = changelog.partition.topic

    def __enter__(self) -> None:
        self._set(ResourceType.BROKER, self._broker, {"log.cleaner.backoff.ms": "100"})
        self._set(ResourceType.TOPIC, self._topic, {"segment.ms": "50", "min.cleanable.dirty.ratio": "0.01"})

    def __exit__(self, *_: object) -> None:
        self._set(ResourceType.BROKER, self._broker, {"log.cleaner.backoff.ms": "15000"})

    def _set(self, kind: ResourceType, name: str, properties: Mapping[str, str]) -> None:
        entries = [
            ConfigEntry(option, value, incremental_operation=AlterConfigOpType.SET)
            for option, value in properties.items()
        ]
        for future in self._admin.incremental_alter_configs(
            [ConfigResource(kind, name, incremental_configs=entries)]
        ).values():
            future.result()


@pytest.mark.parametrize("outcome", ["committed", "aborted"])
def test_transaction_open_at_the_tail_is_waited_for(changelog: Changelog, store: RocksStore, outcome: str) -> None:
    changelog.commit({b"\x00a": b"1"})
    late = changelog.begin({b"\x00a": b"2", b"\x00b": b"2", CHECKPOINT_KEY: checkpoint(2)})
    span = changelog.span
    asked = threading.Semaphore(0)

    def look_on(_: RestoreProgress) -> bool:
        asked.release()
        return False

    with ThreadPoolExecutor() as pool:
        restoring = pool.submit(changelog.restore, store, span, look_on)
        for _ in range(5):
            assert asked.acquire(timeout=DEADLINE_S)
        assert not restoring.done()
        if outcome == "committed":
            late.commit_transaction()
            changelog.entries = {b"\x00a": b"2", b"\x00b": b"2"}
        else:
            late.abort_transaction()
        restoring.result(DEADLINE_S)
    changelog.assert_restored(store)


# What does not end


def test_no_progress_is_given_up_with_the_place_named(changelog: Changelog, store: RocksStore) -> None:
    changelog.commit({b"\x00a": b"1"})
    foreign = changelog.begin({b"\x00b": b"1"})
    span = changelog.span
    place = rf"{changelog.partition.topic} partition 0 .* for 1 s: it stands at offset \d+ of {span.end}"
    with pytest.raises(KafkaFailure, match=place) as failed:
        changelog.restore(store, span, timeout_s=1.0)
    assert "transaction" in failed.value.hint
    foreign.abort_transaction()
    changelog.restore(store)
    changelog.assert_restored(store)


def test_broker_that_is_away_is_waited_for_as_long(tmp_path: Path) -> None:
    config = WorkerConfig("127.0.0.1:1", "app", tmp_path, restore_timeout_s=1.0)
    changelog = TopicPartition("app-changelog", 0)
    with pytest.raises(KafkaFailure, match=r"app-changelog partition 0 .* Unable to bootstrap"):
        Restorer(config).restore(MemoryStore(), changelog, Span(0, 1), RestoreProgress(changelog), lambda: False)


# What is cut off


def test_cancelled_restore_goes_on_where_it_stopped(changelog: Changelog, store: RocksStore) -> None:
    commit_many(changelog, 200_000)
    with pytest.raises(RestoreCancelled):
        changelog.restore(store, cancelled=lambda progress: progress.records > 50_000)
    assert store.position is not None
    assert 50_000 < store.position < changelog.span.end
    stands_at = store.position
    assert changelog.restore(store).records <= changelog.span.end - stands_at
    changelog.assert_restored(store)


def test_killed_restore_goes_on_where_it_stopped(changelog: Changelog, tmp_path: Path) -> None:
    commit_many(changelog, 600_000)
    span, path = changelog.span, tmp_path / "killed"
    code = f"""
import os, signal, time
from pathlib import Path
from headrace.agents.changelog import *
from headrace.agents.tables import RocksStore
changelog, progress = TopicPartition({changelog.partition.topic!r}, 0), RestoreProgress(TopicPartition("", 0))
def kill_late():
    if progress.records > 500_000:
        while not store._db.property_int_value("rocksdb.live-sst-files-size"):
            time.sleep(0.01)  # what RocksDB has not flushed dies with the process
        os.kill(os.getpid(), signal.SIGKILL)
store = RocksStore(Path({str(path)!r}))
config = WorkerConfig({changelog.config.bootstrap_servers!r}, "app", Path())
Restorer(config).restore(store, changelog, Span(0, {span.end}), progress, kill_late)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == -signal.SIGKILL
    store = RocksStore(path)
    assert store.position is not None
    assert 0 < store.position < span.end
    assert store.get(CHECKPOINT_KEY) is None
    assert changelog.restore(store).records < 600_001
    changelog.assert_restored(store)
    store.close()


def test_restore_of_a_catch_up_that_was_cut_off_counts_all_the_same(changelog: Changelog, store: RocksStore) -> None:
    changelog.commit(numbered(5_000))
    changelog.restore(store)
    commit_many(changelog, 100_000)
    with pytest.raises(RestoreCancelled):
        changelog.restore(store, cancelled=lambda progress: progress.records > 10_000)
    changelog.restore(store)
    changelog.assert_restored(store)


def commit_many(changelog: Changelog, keys: int) -> None:
    """In commits of 50,000, each with some deletions of what was there."""
    numbers = random.Random(keys)
    for first in range(0, keys, 50_000):
        old = list(changelog.entries)[:: max(len(changelog.entries) // 100, 1)]
        new: dict[bytes, bytes | None] = {
            b"\x00%d" % number: numbers.randbytes(40) for number in range(first, first + 50_000)
        }
        changelog.commit({**new, **dict.fromkeys(old, None)})


# What does not fit


def test_catch_up_looks_at_what_has_changed_only(changelog: Changelog, store: RocksStore) -> None:
    changelog.commit(numbered(5_000))
    changelog.restore(store)
    changelog.commit({b"\x001": None, b"\x002": b"2", b"\x00new": b"1", b"\x00never": None})
    watched = Watched(store)
    progress = changelog.restore(watched)
    assert progress.records == 5
    assert watched.looked_up <= {CHECKPOINT_KEY, b"\x001", b"\x002", b"\x00new", b"\x00never"}
    changelog.assert_restored(watched)


class Watched(RocksStore):
    """Another's database, with a note of what is read of it."""

    def __init__(self, store: RocksStore) -> None:
        self.__dict__.update(store.__dict__)
        self.looked_up: set[bytes] = set()

    def get(self, key: bytes) -> bytes | None:
        self.looked_up.add(key)
        return super().get(key)

    def entries(self) -> Generator[int, None, None]:
        raise AssertionError("a catch-up must not read the whole store")


def test_store_with_an_entry_too_many_is_condemned_by_a_catch_up(changelog: Changelog, store: RocksStore) -> None:
    changelog.commit(numbered(100))
    changelog.restore(store)
    assert store.position is not None
    store.apply([(b"\x00foreign", b"1")], store.position)
    changelog.commit({b"\x00foreign": b"1"})
    with pytest.raises(UnusableState, match="counts 101 entries, the store has 100"):
        changelog.restore(store)
    assert (store.path / "condemned").exists()


def test_changelog_that_has_lost_entries_stops_the_task(changelog: Changelog, store: RocksStore) -> None:
    changelog.commit(numbered(100))
    changelog.commit({b"\x00more": b"1"})
    (deleted,) = changelog.admin.delete_records([KafkaPartition(*changelog.partition, 50)]).values()
    deleted.result()
    with pytest.raises(TaskStopped, match=r"counts 101 entries, the store has 51.*headrace reset"):
        changelog.restore(store)
    assert store.get(CHECKPOINT_KEY) is None


def test_store_ahead_of_the_changelog_is_condemned(changelog: Changelog, store: RocksStore) -> None:
    changelog.commit(numbered(10))
    store.apply([(b"\x00a", b"1"), (CHECKPOINT_KEY, checkpoint(1))], 100)
    with pytest.raises(UnusableState, match="offsets 0 to 12, the store stands at 100"):
        changelog.restore(store)
    assert (store.path / "condemned").exists()


def test_records_deleted_while_they_are_restored_condemn_the_store(changelog: Changelog, store: RocksStore) -> None:
    changelog.commit(numbered(10))
    changelog.restore(store)
    for number in range(100):
        changelog.commit({b"\x00more": b"%d" % number})
    end = changelog.span.end
    (deleted,) = changelog.admin.delete_records([KafkaPartition(*changelog.partition, end - 2)]).values()
    deleted.result()
    with pytest.raises(UnusableState, match=f"does not have offset {store.position} any more"):
        changelog.restore(store, span=Span(0, end))


# With workers


def fill_changelog(app: EdgeApp, partition: int, keys: int) -> None:
    """State of a counting task as a worker has committed it, of which its input has nothing left to read."""
    producer = transactions(app.bootstrap, unique_name("fill"))
    topic = f"{app.name}-count-changelog"
    producer.begin_transaction()
    for number in range(keys):
        producer.produce(topic, b"%060d" % 1, b"old-%d" % number, partition)
    consumer = Consumer({"bootstrap.servers": app.bootstrap, "group.id": app.name})
    producer.send_offsets_to_transaction(
        [KafkaPartition(f"{app.name}-in", partition, 0)], consumer.consumer_group_metadata()
    )
    last = {"next": [[f"{app.name}-in", partition, 0]], "ended": [], "live": {"0": keys}}
    producer.produce(topic, json.dumps(last).encode(), CHECKPOINT_KEY, partition)
    producer.commit_transaction()


Hold = Callable[[EdgeApp, Iterable[int]], Producer]


@pytest.fixture
def held_changelog(broker: str) -> Iterator[Hold]:
    """Begins a transaction on some partitions of an app's changelog: no restore of them ends before it does."""
    producers: list[Producer] = []

    def hold(app: EdgeApp, partitions: Iterable[int]) -> Producer:
        producer = transactions(broker, unique_name("hold"))
        producers.append(producer)
        producer.begin_transaction()
        for partition in partitions:
            producer.produce(f"{app.name}-count-changelog", b"1", b"held", partition)
        assert producer.flush(DEADLINE_S) == 0
        return producer

    yield hold
    for producer in producers:
        producer.purge()


def filled_app(new_edge_app: NewEdgeApp, *keys: int) -> EdgeApp:
    """A counting app whose partitions have state already."""
    app = new_edge_app(partitions=len(keys))
    ensure_topics(app.cluster, counting_topology(app.name, len(keys)))
    for partition, count in enumerate(keys):
        if count:
            fill_changelog(app, partition, count)
    return app


def test_million_keys_are_restored_beside_a_task_that_keeps_committing(new_edge_app: NewEdgeApp) -> None:
    app = filled_app(new_edge_app, 0, 1_000_000)
    live, restored = app.inputs
    worker = app.start(commit_interval_s=0.1)
    worker.await_log("task=count-0")
    producer = Producer({"bootstrap.servers": app.bootstrap, **IN_ORDER})
    group = Consumer({"bootstrap.servers": app.bootstrap, "group.id": app.name, "isolation.level": "read_uncommitted"})
    committed_at: dict[int, float] = {}
    while "task=count-1" not in worker.log():
        producer.produce(live.topic, b"x", b"live", live.partition)
        assert producer.flush(DEADLINE_S) == 0
        (place,) = group.committed([KafkaPartition(*live)], timeout=DEADLINE_S)
        committed_at.setdefault(place.offset, time.monotonic())
    group.close()
    times = list(committed_at.values())
    assert len(times) >= 4
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    sys.stdout.write(f"commits beside the restore: {len(times)}, longest gap {max(gaps):.3f} s\n")
    assert max(gaps) < 2.0
    assert "entries=1000000" in worker.log()
    produce_to(app, restored, b"old-999999")
    wait_until(lambda: (b"old-999999", b"2") in results(app), "the restored count goes on")
    assert worker.stop() == 0


def produce_to(app: EdgeApp, partition: TopicPartition, key: bytes) -> None:
    producer = Producer({"bootstrap.servers": app.bootstrap, **IN_ORDER})
    producer.produce(partition.topic, b"x", key, partition.partition)
    assert producer.flush(DEADLINE_S) == 0


def test_task_whose_input_was_never_read_does_not_hold_up_others_while_it_restores(
    new_edge_app: NewEdgeApp, held_changelog: Hold
) -> None:
    app = new_edge_app(partitions=2)
    ensure_topics(app.cluster, counting_topology(app.name, 2))
    live, held = app.inputs
    holder = held_changelog(app, [held.partition])
    worker = app.start()
    worker.await_log("task=count-0")
    produce_to(app, live, b"live")
    wait_until(lambda: app.committed().get(live) == 1, "the live task commits", deadline_s=10.0)
    assert "task=count-1" not in worker.log()
    holder.abort_transaction()
    worker.await_log("task=count-1")
    assert worker.stop() == 0


def results(app: EdgeApp) -> list[tuple[bytes, bytes]]:
    return [(message.key(), message.value()) for message in app.records(f"{app.name}-out")]


def test_rebalance_in_the_middle_of_a_restore_begins_it_again_where_it_belongs(
    new_edge_app: NewEdgeApp, held_changelog: Hold
) -> None:
    app = filled_app(new_edge_app, 2_000, 2_000)
    holder = held_changelog(app, [0, 1])
    first = app.start()
    first.await_log("opening=['count-0', 'count-1']")
    second = app.start(slot=1)
    second.await_log("opening=['count-")
    first.await_log("restore cancelled", times=2)
    holder.abort_transaction()
    for worker in (first, second):
        worker.await_log("task open")
        assert worker.log().count("entries=2000") == 1
    for partition in app.inputs:
        produce_to(app, partition, b"old-7")
    wait_until(lambda: results(app) == [(b"old-7", b"2")] * 2, "both tasks count on")
    assert [worker.stop() for worker in (first, second)] == [0, 0]


def test_restore_without_progress_ends_the_worker_with_3_and_names_the_changelog(
    new_edge_app: NewEdgeApp, held_changelog: Hold
) -> None:
    app = filled_app(new_edge_app, 10)
    holder = held_changelog(app, [0])
    worker = app.start(restore_timeout_s=1.0)
    assert worker.exit_code() == 3
    assert f"restore of changelog {app.name}-count-changelog partition 0 has made no progress for 1 s" in worker.log()
    holder.abort_transaction()


COUNTS = """
CREATE STREAM s (k INT) WITH (topic = '{name}-in');
CREATE TABLE t WITH (topic = '{name}-out') AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;
"""


def test_local_state_that_has_lost_an_entry_is_kept_aside_and_rebuilt(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(COUNTS, partitions=1)
    app.create_own_topics()
    records = [row(0, k=number % 40) for number in range(120)]

    def run_worker(some: list[Input], state: str) -> Run:
        app.produce(some)
        worker = app.worker(state_dir=str(app.directory / state))
        app.await_caught_up()
        assert worker.stop() == 0
        return worker

    run_worker(records[:40], "first")
    (path,) = (identity.parent for identity in app.directory.glob(f"first/{app.name}/0/*/headrace.json"))
    store = RocksStore(path)
    assert store.position is not None
    (lost, _), *_ = store.scan(b"", CHECKPOINT_KEY)
    store.apply([(lost, None)], store.position)
    store.close()
    run_worker(records[40:80], "second")
    worker = run_worker(records[80:], "first")
    (unusable,) = worker.events("local state is not usable, rebuilding it from the changelog")
    assert "counts 40 entries, the store has 41" in unusable["reason"]
    assert [event["entries"] for event in worker.events("state restored")] == [40]
    assert {value["k"]: value["n"] for value in app.rows(f"{app.name}-out")} == dict.fromkeys(range(40), 3)

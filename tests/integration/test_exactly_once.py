"""Exactly once on a real broker, case by case: what the torture test meets by chance is brought about here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from tests.integration.conftest import temporary_home
from tests.integration.edge_cluster import DEADLINE_S, EdgeApp, NewEdgeApp, records_of, wait_until
from tests.integration.sql_app import NewSqlApp, row

from headrace.app import broker as brokers
from headrace.app.broker import properties

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

FORGETFUL = {
    "transactional.id.expiration.ms": "1500",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "300",
}


@pytest.fixture
def forgetful_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A broker that forgets an idle producer within seconds instead of a week."""
    monkeypatch.setattr(properties, "DEVELOPMENT", {**properties.DEVELOPMENT, **FORGETFUL})
    started = brokers.start(
        temporary_home(tmp_path / "broker"), brokers.free_port(), brokers.Security.PLAINTEXT, lambda *_: None
    )
    yield started.address
    brokers.stop(started)


def transactional(app: EdgeApp) -> Producer:
    """A producer of somebody else that writes to the source in transactions."""
    producer = Producer({"bootstrap.servers": app.bootstrap, "transactional.id": f"{app.name}-foreign"})
    producer.init_transactions(DEADLINE_S)
    producer.begin_transaction()
    return producer


def write(producer: Producer, app: EdgeApp, records: int) -> None:
    for number in range(records):
        producer.produce(f"{app.name}-in", b"x", b"k%d" % (number % 50))
    assert producer.flush(DEADLINE_S) == 0


def results(app: EdgeApp) -> int:
    return len(list(app.records(f"{app.name}-out")))


def test_what_another_producer_aborts_is_never_counted(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    app.start().await_log("task open", times=4)
    producer = transactional(app)
    write(producer, app, 300)
    producer.abort_transaction(DEADLINE_S)
    producer.begin_transaction()
    write(producer, app, 200)
    producer.commit_transaction(DEADLINE_S)
    app.await_caught_up()
    assert sum(app.counts().values()) == results(app) == 200


def test_transaction_that_somebody_leaves_open_is_reported_and_waited_for(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app(partitions=1)
    worker = app.start(stalled_s=1.0)
    worker.await_log("task open")
    app.produce(100)
    app.await_caught_up()
    producer = transactional(app)
    write(producer, app, 10)
    app.produce(100)
    worker.await_log("partition does not move")
    assert "a transaction that another producer has open begins at offset 100" in worker.log()
    assert sum(app.counts().values()) == 100
    producer.commit_transaction(DEADLINE_S)
    worker.await_log("partition moves again")
    app.await_caught_up()
    assert sum(app.counts().values()) == results(app) == 210


def test_producer_that_kafka_has_forgotten_is_replaced_without_a_restart(
    forgetful_broker: str, new_edge_app: NewEdgeApp
) -> None:
    app = new_edge_app(bootstrap=forgetful_broker)
    worker = app.start()
    worker.await_log("task open", times=4)
    app.produce(1_000)
    app.await_caught_up()
    wait_until(lambda: is_forgotten(app), "Kafka forgets the idle producer")
    app.produce(1_000)
    app.await_caught_up()
    assert "a commit failed: all tasks are opened anew" in worker.log()
    assert worker.stop() == 0
    assert sum(app.counts().values()) == results(app) == 2_000


def is_forgotten(app: EdgeApp) -> bool:
    """Whether the last word about the app's transactional id is a tombstone."""
    last = {m.key(): m.value() for m in records_of(app.cluster, "__transaction_state") if app.name.encode() in m.key()}
    return bool(last) and all(value is None for value in last.values())


def test_results_become_readable_only_with_the_commit(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app(partitions=1)
    worker = app.start(commit_interval_s=3600.0)
    worker.await_log("task open")
    app.produce(100)
    app.produce(1, value=b"say")
    worker.await_log("a record says say")
    uncommitted = Consumer(
        {"bootstrap.servers": app.bootstrap, "group.id": app.name + "-u", "isolation.level": "read_uncommitted"}
    )
    for partition in (0, 1):
        assert uncommitted.get_watermark_offsets(KafkaPartition(f"{app.name}-out", partition), DEADLINE_S)[1] == 0
    uncommitted.close()
    assert worker.stop() == 0
    assert results(app) == sum(app.counts().values()) == sum(app.committed().values()) == 101


def test_group_offsets_that_were_set_from_outside_stop_the_task(new_sql_app: NewSqlApp) -> None:
    """Somebody sets the group back to read all again: the state would count it twice."""
    app = new_sql_app(
        "CREATE STREAM rows (k VARCHAR KEY) WITH (topic = '{name}-in');"
        "CREATE TABLE counts WITH (topic = '{name}-out') AS SELECT k, COUNT(*) AS n FROM rows GROUP BY k;",
        partitions=1,
    )
    app.produce([row(0, key=b"a", k="a")] * 100)
    run = app.run()
    app.await_caught_up()
    assert run.stop() == 0
    outsider = Consumer({"bootstrap.servers": app.bootstrap, "group.id": app.name})
    outsider.commit(offsets=[KafkaPartition(app.source, 0, 10)], asynchronous=False)
    outsider.close()
    code, log = app.refused()
    assert code == 1
    assert f"{app.source} partition 0: the consumer group stands at offset 10, the state of" in log
    assert "at 100. Offsets were set from outside" in log

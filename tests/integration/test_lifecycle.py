"""The life of an app on Kafka: stopped, killed, moved, without its disk, changed, reset. Nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer
from tests.integration.edge_cluster import wait_until
from tests.integration.sql_app import Input, NewSqlApp, SqlApp, contents, differences, written_locally
from tests.integration.test_sql_on_kafka import SQL, START_MS, assert_as_in_memory, orders

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

SHORT_SESSION = {"kafka.session.timeout.ms": "6000"}

# Distinct ids, so that what a crash repeats counts once and what it loses is missed.
IDS = """
CREATE STREAM hits (id BIGINT, page VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at) WITH (topic = '{name}-in');
CREATE TABLE pages WITH (topic = '{name}-pages', changes = 'latest') AS
SELECT page, COUNT(DISTINCT id) AS ids, COUNT(*) AS hits, MAX(id) AS newest FROM hits GROUP BY page EMIT CHANGES;
CREATE TABLE seconds WITH (topic = '{name}-seconds') AS
SELECT page, COUNT(DISTINCT id) AS ids, MIN(id) AS oldest, MAX(id) AS newest FROM hits
WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY page EMIT FINAL;
"""


def hit(number: int) -> Input:
    value = {"id": number, "page": f"p{number % 37}", "at": START_MS + number}
    return Input(number % 4, None, json.dumps(value).encode())


@contextmanager
def live_producer(app: SqlApp, per_s: int) -> Iterator[list[Input]]:
    """Produces hits beside everything else; the list grows by what Kafka has."""
    produced: list[Input] = []
    enough = threading.Event()

    def work() -> None:
        while not enough.wait(0.05):
            batch = [hit(len(produced) + n) for n in range(per_s // 20)]
            app.produce(batch)
            produced.extend(batch)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield produced
    finally:
        enough.set()
        thread.join()


def assert_nothing_lost(app: SqlApp, records: list[Input]) -> None:
    """After a run to the end. A repeated row says no more than the first."""
    ids: dict[str, set[int]] = defaultdict(set)
    for record in records:
        value = json.loads(record.value or b"")
        ids[value["page"]].add(value["id"])
    pages = {key: json.loads(value) for key, (value, _) in app.contents(f"{app.name}-pages").items()}
    assert {key.decode(): (page["ids"], page["newest"]) for key, page in pages.items() if key} == {
        page: (len(found), max(found)) for page, found in ids.items()
    }
    assert all(page["hits"] >= page["ids"] for page in pages.values())
    topic = f"{app.name}-seconds"
    expected = contents(written_locally(app.local(records), topic))
    for key, value, timestamp in app.written(topic):
        assert expected[key] == (value, timestamp), "a window that is written again says the same"
    assert not differences(expected, app.contents(topic))


def test_worker_killed_under_load_is_restarted_and_nothing_is_lost(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(IDS)
    run = app.run("--workers", "2", "--set", "kafka.session.timeout.ms=6000")
    with live_producer(app, 2_000) as produced:
        run.await_events("task open", 8)
        wait_until(lambda: app.cluster.committed_so_far(app.inputs()) != {}, "something is committed")
        os.kill(run.workers()[0], signal.SIGKILL)
        run.await_events("worker started", 3)
        moment = len(produced)
        wait_until(lambda: len(produced) > moment + 2_000, "the producer goes on")
    assert run.stop() == 0, run.log()
    app.produce([hit(len(produced) + number) for number in range(500)])
    produced += [hit(len(produced) + number) for number in range(500)]
    app.run_to_end()
    assert_nothing_lost(app, produced)


def test_finite_run_that_is_stopped_is_not_complete_and_a_worker_of_it_is_restarted(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(IDS)
    records = [hit(number) for number in range(500)]
    app.produce(records)
    open_end = Producer({"bootstrap.servers": app.bootstrap, "transactional.id": app.name})
    open_end.init_transactions()
    open_end.begin_transaction()
    records.append(hit(500))
    open_end.produce(app.source, records[-1].value, partition=0)
    open_end.flush()  # what no run can come past before it is committed

    run = app.run("--until-end")
    run.await_events("task open", 12)
    os.kill(run.workers()[0], signal.SIGTERM)
    run.await_events("task open", 24)
    assert run.stop() == 143, run.log()
    open_end.commit_transaction()
    app.run_to_end()
    assert_nothing_lost(app, records)


def test_standby_of_mode_single_takes_over_when_the_other_worker_is_killed(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL)
    records = orders(2_000)
    app.create_own_topics("--mode", "single")
    first, second = (app.worker(slot, mode="single", **SHORT_SESSION) for slot in (0, 1))
    wait_until(lambda: bool(first.events("task open") or second.events("task open")), "one of them has the task")
    active, standby = (first, second) if first.events("task open") else (second, first)
    standby.await_events("assigned")
    app.produce(records[:1_000])
    app.await_caught_up("single")
    assert not standby.events("task open")
    active.kill()
    app.produce(records[1_000:])
    standby.await_events("task open")
    app.await_caught_up("single", by=standby)
    assert standby.stop() == 0, standby.log()
    app.run_to_end("--mode", "single")
    assert_as_in_memory(app, app.local(records))


def test_state_that_is_gone_is_restored_from_the_changelogs(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL)
    records = orders(3_000)
    run = app.run()
    app.produce(records[:2_000])
    app.await_caught_up()
    assert run.stop() == 0
    shutil.rmtree(app.state)
    app.produce(records[2_000:])
    again = app.run_to_end()
    assert sum(event["records"] for event in again.events("state restored")) > 0
    assert_as_in_memory(app, app.local(records))


def test_state_of_another_app_is_set_aside(new_sql_app: NewSqlApp) -> None:
    other, app = new_sql_app(SQL), new_sql_app(SQL)
    other.produce(orders(500, seed=1))
    other.run_to_end()
    shutil.copytree(other.state / other.name, app.state / app.name)
    records = orders(500, seed=2)
    app.produce(records)
    run = app.run_to_end()
    assert run.events("local state is not usable, rebuilding it from the changelog")
    assert_as_in_memory(app, app.local(records))


def test_changed_app_is_refused_until_it_is_reset(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL)
    records = orders(1_000)
    app.produce(records)
    run = app.run()
    app.await_caught_up()
    assert run.stop() == 0
    before = {sink: len(app.written(f"{app.name}-{sink}")) for sink in ("large", "by-customer", "windows")}

    for change in (("--mode", "single"), ("--parallelism", "2")):
        code, log = app.refused(*change)
        assert (code in (1, 3), "headrace reset" in log) == (True, True), log
    app.write_sql(SQL.replace("COUNT(*) % 2 = 1", "COUNT(*) > 10"))
    code, log = app.refused()
    assert (code, "headrace reset" in log) == (1, True), log
    app.write_sql(SQL.replace("quantity >= 5", "quantity >= 8"))  # a stage without state
    code, log = app.refused()
    assert (code, "headrace reset" in log) == (1, True), log
    assert before == {sink: len(app.written(f"{app.name}-{sink}")) for sink in before}

    reset = app.headrace("reset", str(app.file), "--yes")
    assert reset.exit_code() == 0, reset.log()
    for sink in ("large", "by-customer", "odd", "windows", "busy", "overall", "dead-letter"):
        app.cluster.delete([f"{app.name}-{sink}"])
    app.run_to_end()
    assert_as_in_memory(app, app.local(records))


def test_app_whose_source_is_gone_can_be_reset(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(IDS)
    app.produce([hit(number) for number in range(100)])
    app.run_to_end()
    app.cluster.delete([app.source])

    reset = app.headrace("reset", str(app.file), "--yes")
    assert reset.exit_code() == 0, reset.log()
    left = {name for name in app.admin.list_topics(timeout=10).topics if name.startswith(app.name)}
    assert left == {f"{app.name}-{sink}" for sink in ("pages", "seconds", "dead-letter")}
    assert not (app.state / app.name).exists()


def test_reset_of_a_running_app_is_refused(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL)
    run = app.run()
    run.await_events("task open")
    reset = app.headrace("reset", str(app.file), "--yes")
    assert reset.exit_code() == 3
    assert "is running" in reset.log()
    assert app.state.exists()
    assert run.stop() == 0


def test_records_deleted_before_they_were_read_stop_the_app_or_not_as_it_is_told(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(IDS, partitions=1)
    records = [Input(0, None, hit(number).value) for number in range(300)]
    app.produce(records[:100])
    run = app.run()
    app.await_caught_up()
    assert run.stop() == 0
    app.produce(records[100:])
    app.delete_records(app.source, 0, before=150)
    code, log = app.refused()
    assert code == 1, log
    assert "records 100 to 149 were deleted" in log
    assert "on_lost_records" in log
    app.run_to_end("--set", "on_lost_records=continue")
    assert_nothing_lost(app, records[:100] + records[150:])


def test_windows_close_while_a_partition_is_idle(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL)
    records = orders(2_000)  # none in partition 3
    app.produce(records)
    run = app.run("--set", "idle_timeout=1s")
    newest = max(json.loads(record.value or b"")["at"] for record in records)
    topic = f"{app.name}-windows"
    closed = {
        record
        for record in written_locally(app.local(records), topic)
        if json.loads(record[1] or b"")["window_start"] + 10_000 + 1_000 <= newest - 2_000
    }
    assert len(closed) > 10
    wait_until(lambda: topic in app.cluster.source_partitions([topic]), "the sink is there")
    wait_until(lambda: closed <= set(app.written(topic)), "the windows close")

    # What a partition brings when it wakes up counts for open windows. (That it holds them open again is a unit test:
    # here it is idle again after a second, however slow the machine.)
    late = START_MS + 2_000 * 20
    app.produce([order_at(3, late), order_at(3, late + 1)])
    app.await_caught_up()
    app.produce([order_at(partition, late + 60_000) for partition in range(4)])
    wanted = {"region": "woken", "window_start": late // 10_000 * 10_000, "orders": 2}
    wait_until(lambda: any(wanted.items() <= row.items() for row in app.rows(topic)), "both woken orders count")
    assert run.stop() == 0


def order_at(partition: int, at: int) -> Input:
    value = {"id": at, "customer": "c", "region": "woken", "amount": 1, "quantity": 1, "at": at}
    return Input(partition, None, json.dumps(value).encode())


@pytest.mark.parametrize("start", ["latest", "timestamp"])
def test_app_starts_where_it_is_told_to_and_keeps_its_start(new_sql_app: NewSqlApp, start: str) -> None:
    app = new_sql_app(IDS)
    old = [hit(number) for number in range(400)]
    moment = int(time.time() * 1000)
    app.produce([Input(r.partition, None, r.value, moment - 60_000) for r in old])
    since = "latest" if start == "latest" else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment / 1000 - 30))
    arguments = ("--set", f"start_from={since}", "--workers", "2")
    run = app.run(*arguments)
    run.await_events("task open", 12)
    assert run.stop() == 0
    new = [hit(number) for number in range(400, 700)]
    app.produce([Input(r.partition, None, r.value, moment) for r in new])  # while nobody runs
    app.run_to_end(*arguments)
    assert_nothing_lost(app, new)


def test_start_may_be_written_in_the_sql_as_a_time(new_sql_app: NewSqlApp) -> None:
    start = datetime.fromtimestamp(START_MS / 1000 + 0.2, UTC).isoformat()
    app = new_sql_app(IDS.replace("'{name}-in'", f"'{{name}}-in', start_from = '{start}'"))
    records = [hit(number) for number in range(400)]
    app.produce([Input(r.partition, None, r.value, START_MS + number) for number, r in enumerate(records)])
    app.run_to_end()
    assert_nothing_lost(app, records[200:])


def test_worker_outlives_the_idleness_of_a_partition_that_was_never_read(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(IDS, partitions=1)
    run = app.run("--set", "idle_timeout=1s")
    run.await_events("task open", 3)
    exchanges = app.exchanges()
    wait_until(lambda: run.ended or all(app.cluster.end_offsets(exchanges).values()), "the stages behind hear of it")
    records = [Input(0, None, hit(number).value) for number in range(100)]
    app.produce(records)
    app.await_caught_up()
    assert run.stop() == 0
    assert len(run.events("worker started")) == 1
    app.run_to_end()
    assert_nothing_lost(app, records)


def test_consumed_repartition_records_are_deleted_and_nothing_is_lost(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL)
    records = orders(3_000)
    app.create_own_topics()
    worker = app.worker(purge_interval_s=0.3)
    app.produce(records[:1_000])
    app.await_caught_up()
    ends = app.cluster.end_offsets(app.exchanges())
    assert sum(end > 0 for end in ends.values()) >= 8
    # What the open windows need after a restart stays, and is needed below: the state is lost.
    done = {p: end for p, end in ends.items() if p.topic != f"{app.name}-windows-0-repartition"}
    assert len(done) < len(ends)
    wait_until(lambda: app.cluster.begin_offsets(list(done)) == done, "all that was consumed is deleted")
    app.produce(records[1_000:2_000])
    app.await_caught_up()
    assert worker.stop() == 0, worker.log()
    shutil.rmtree(app.state)
    app.produce(records[2_000:])
    app.run_to_end()
    assert_as_in_memory(app, app.local(records))

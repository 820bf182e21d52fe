"""A source that gets more partitions while its app runs, on a real broker: nothing is lost, nothing counts twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from tests.integration.edge_cluster import wait_until
from tests.integration.sql_app import Input, NewSqlApp, SqlApp, row

from headrace.sql.runtime.records import TopicPartition

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

TOTALS = """
CREATE STREAM hits (k VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at) WITH (topic = '{name}-in');
CREATE TABLE totals WITH (topic = '{name}-totals', changes = 'latest') AS
SELECT k, COUNT(*) AS n FROM hits GROUP BY k EMIT CHANGES;
CREATE STREAM copies WITH (topic = '{name}-copies') AS SELECT k, at FROM hits;
"""
WINDOWS = """
CREATE TABLE windows WITH (topic = '{name}-windows') AS
SELECT k, window_start, COUNT(*) AS n FROM hits GROUP BY k WINDOW TUMBLING (SIZE 1 SECOND);
"""
SQL = TOTALS + WINDOWS
SOON = {"kafka.metadata.max.age.ms": "500", "kafka.session.timeout.ms": "6000"}
AS_FLAGS = [flag for name, value in SOON.items() for flag in ("--set", f"{name}={value}")]


def hits(partitions: Iterable[int], time: int, count: int = 100) -> list[Input]:
    """So many records for each partition, of ten keys and one event time."""
    return [row(partition, k=f"k{number % 10}", at=time) for partition in partitions for number in range(count)]


def totals(app: SqlApp) -> Counter[str]:
    return Counter({value["k"]: value["n"] for value in app.rows(f"{app.name}-totals")})


def closed(app: SqlApp) -> Counter[int]:
    """Records counted, by the start of their window; each window of a key is written once."""
    rows = app.rows(f"{app.name}-windows")
    assert len({(value["k"], value["window_start"]) for value in rows}) == len(rows)
    counts: Counter[int] = Counter()
    for value in rows:
        counts[value["window_start"]] += value["n"]
    return counts


@pytest.mark.parametrize(
    ("mode", "workers", "start_from"),
    [("partitioned", 2, "earliest"), ("partitioned", 1, "latest"), ("single", 2, "latest")],
)
def test_new_partitions_are_read_from_their_beginning_and_windows_go_on_closing(
    new_sql_app: NewSqlApp, mode: str, workers: int, start_from: str
) -> None:
    app = new_sql_app(SQL, partitions=2)
    app.create_own_topics("--mode", mode)
    settings = {"mode": mode, "start_from": start_from, "idle_timeout": "1h", **SOON}
    runs = [app.worker(slot, **settings) for slot in range(workers)]
    wait_until(
        lambda: app.cluster.committed_so_far(app.inputs(mode)).keys() >= set(app.inputs(mode)), "all starts are kept"
    )
    app.produce(hits((0, 1), 500))
    wait_until(lambda: totals(app).total() == 200, "what comes is counted")

    app.grow(4)
    app.produce(hits((2, 3), 600))
    app.produce(hits((0, 1), 700))
    wait_until(lambda: totals(app).total() == 600, "what the new partitions have is counted")
    assert any(run.events("sources have more partitions") for run in runs)
    # Partition 3 holds the window open now.
    app.produce(hits((0, 1, 2), 1_500))
    wait_until(lambda: totals(app).total() == 900, "all of that is counted")
    assert closed(app) == {}
    app.produce(hits([3], 1_500))
    wait_until(lambda: closed(app) == {0: 600}, "the first window closes")

    assert [run.stop() for run in runs] == [0] * workers
    app.produce(hits(range(4), 2_500))
    app.run_to_end("--mode", mode, "--set", f"start_from={start_from}")
    assert closed(app) == {0: 600, 1_000: 400, 2_000: 400}
    assert totals(app) == {f"k{number}": 140 for number in range(10)}
    assert len(app.rows(f"{app.name}-copies")) == 1_400


def test_app_under_a_supervisor_reads_new_partitions_without_a_restart(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(TOTALS, partitions=1)
    run = app.run("--workers", "2", *AS_FLAGS)
    run.await_events("task open", 2)
    app.produce(hits([0], 500))
    wait_until(lambda: totals(app).total() == 100, "what comes is counted")
    app.grow(3)
    app.produce(hits(range(3), 600))
    wait_until(lambda: totals(app).total() == 400, "what the new partitions have is counted")
    assert len(run.events("worker started")) == 2
    assert run.stop() == 0
    topics = app.headrace("topics", str(app.file))
    assert topics.exit_code() == 0, topics.log()


def test_partitions_that_came_while_nobody_ran_are_read_from_their_beginning(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL, partitions=2)
    run = app.run("--set", "start_from=latest")
    wait_until(lambda: run.ended or len(app.cluster.committed_so_far(inputs(app))) == 2, "the starts are kept")
    app.produce(hits((0, 1), 500))
    wait_until(lambda: totals(app).total() == 200, "what comes is counted")
    assert run.stop() == 0
    app.grow(3)
    app.produce(hits(range(3), 600))
    app.run_to_end("--set", "start_from=latest")
    assert totals(app).total() == 500
    assert closed(app) == {0: 500}


def test_worker_that_is_back_under_its_instance_id_sees_new_partitions_too(new_sql_app: NewSqlApp) -> None:
    """The group takes a static member back as it is, so nobody may be told to look for new partitions."""
    app = new_sql_app(TOTALS, partitions=1)
    app.create_own_topics()
    worker = app.worker(instance_id="me", **SOON)
    worker.await_events("task open", 2)
    worker.kill()
    again = app.worker(instance_id="me", **SOON)
    again.await_events("task open", 2)
    app.grow(2)
    app.produce(hits(range(2), 500))
    wait_until(lambda: totals(app).total() == 200, "what the new partition has is counted")
    assert again.stop() == 0


def inputs(app: SqlApp) -> list[TopicPartition]:
    return [partition for partition in app.inputs() if partition.topic == app.source]


def test_app_with_state_in_its_source_partitions_stops_and_says_what_to_do(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(TOTALS.replace("k VARCHAR", "k VARCHAR KEY"), partitions=2)
    run = app.run("--workers", "2", *AS_FLAGS)
    run.await_events("task open", 2)
    app.produce([row(0, key=b"a", k="a", at=1)])
    wait_until(lambda: totals(app).total() == 1, "what comes is counted")
    app.grow(3)
    assert run.exit_code() == 1
    (reason, *_) = {event["error"] for event in run.events("worker failed")}
    assert f"source topic '{app.source}' has 3 partitions, and the state of stage totals-0 was made with 2" in reason
    assert "headrace reset" in reason
    code, log = app.refused()
    assert (code, "a source grouped by its KEY had other partitions; `headrace reset`" in log) == (3, True), log

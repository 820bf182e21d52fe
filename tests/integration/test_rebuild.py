"""A job is rebuilt beside the version that runs: readers of its sinks see all of the old one, then all of the new."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import TopicPartition as KafkaPartition
from tests.integration import job_server
from tests.integration.edge_cluster import records_of, wait_until
from tests.integration.job_server import DEADLINE_S, JobServerProcess, NewServer
from tests.integration.sql_app import NewSqlApp, SqlApp, row

from headrace.sql.runtime.records import TopicPartition

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

SQL = """\
CREATE STREAM hits (k VARCHAR, n BIGINT) WITH (topic = '{name}-in');
CREATE TABLE totals WITH (topic = '{name}-totals') AS SELECT k, COUNT(*) AS c, SUM(n) AS s FROM hits GROUP BY k;
CREATE STREAM tens WITH (topic = '{name}-tens') AS SELECT k, n FROM hits WHERE n % 10 = 0;
"""
EVEN = SQL.replace("FROM hits GROUP BY", "FROM hits WHERE n % 2 = 0 GROUP BY") + (
    "CREATE STREAM odd WITH (topic = '{name}-odd') AS SELECT n FROM hits WHERE n % 2 = 1;\n"
)
MORE = """\
CREATE STREAM others (n BIGINT) WITH (topic = '{other}-in');
CREATE STREAM more WITH (topic = '{name}-more') AS SELECT n FROM others;
"""
STEP = 0.01
SWITCHED_S = 90.0


class Load:
    """Hits that are produced all the time: numbers from 0 on; the key of an odd one ends with 1."""

    def __init__(self, app: SqlApp) -> None:
        self.count = 0
        self._app = app
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._produce)

    def _produce(self) -> None:
        while not self._over.wait(STEP):
            self.add(10)

    def add(self, count: int) -> None:
        numbers = range(self.count, self.count + count)
        self._app.produce([row(n % 4, k=f"k{n % 7}-{n % 2}", n=n) for n in numbers])
        self.count += count

    @contextmanager
    def going_on(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def totals(self, wanted: Callable[[int], bool] = lambda _: True) -> dict[str, tuple[int, int]]:
        counts: Counter[str] = Counter()
        sums: Counter[str] = Counter()
        for n in filter(wanted, range(self.count)):
            counts[f"k{n % 7}-{n % 2}"] += 1
            sums[f"k{n % 7}-{n % 2}"] += n
        return {key: (counts[key], sums[key]) for key in counts}


def is_even(n: int) -> bool:
    return n % 2 == 0


def totals(app: SqlApp) -> dict[str, tuple[int, int]]:
    rows = (json.loads(value) for value, _ in app.contents(f"{app.name}-totals").values())
    return {row["k"]: (row["c"], row["s"]) for row in rows}


def numbers(app: SqlApp, stream: str) -> list[int]:
    return sorted(json.loads(message.value())["n"] for message in records_of(app.cluster, f"{app.name}-{stream}"))


def await_switched(server: JobServerProcess, app: SqlApp) -> None:
    wait_until(lambda: server.job(app.name)["rebuild"] is None, "the rebuilt version has taken over", SWITCHED_S)
    server.await_state(app.name, "running")


def check_results(app: SqlApp, load: Load) -> None:
    wait_until(lambda: totals(app) == load.totals(is_even), "the table has the results of the new version", DEADLINE_S)
    tens = [n for n in range(load.count) if n % 10 == 0]
    odd = [n for n in range(load.count) if n % 2 == 1]
    wait_until(
        lambda: numbers(app, "tens") == tens and numbers(app, "odd") == odd, "every row is there once", DEADLINE_S
    )


def begin(server: JobServerProcess, app: SqlApp, load: Load, more: str = "") -> None:
    """Deploy, have results, and deploy what needs a rebuild."""
    server.deploy(app.name, app.sql)
    server.await_state(app.name, "running")
    load.add(5_000)
    wait_until(lambda: totals(app) == load.totals(), "results of the first version", DEADLINE_S)
    deployed = server.deploy(app.name, EVEN.replace("{name}", app.name) + more, 200, "?rebuild=true")
    assert (deployed["generation"], deployed["verdict"]) == (1, "new")


def test_the_old_version_goes_on_until_the_new_one_takes_over_at_the_same_record(
    new_server: NewServer, new_sql_app: NewSqlApp
) -> None:
    server, app, other = new_server(), new_sql_app(SQL), new_sql_app(SQL)
    load, more = Load(app), Load(other)
    begin(server, app, load, MORE.format(other=other.name, name=app.name))
    with load.going_on(), more.going_on():
        during = server.job(app.name)
        assert during["state"] == "running"
        assert during["rebuild"]["generation"] == 1
        assert totals(app).keys() == load.totals().keys()
        await_switched(server, app)
        after = load.count
        wait_until(lambda: load.count > after + 1_000, "more has come", DEADLINE_S)
    check_results(app, load)
    wait_until(lambda: numbers(app, "more") == list(range(more.count)), "the new source is read", DEADLINE_S)
    told = [(event["event"], event["generation"]) for event in server.events() if event["job"] == app.name]
    assert told.index(("switched", 1)) < len(told) - 1
    assert told.count(("starting", 0)) == 1

    def left() -> set[str]:
        topics = app.admin.list_topics().topics
        return {name for name in topics if name.startswith(f"{app.name}-") and name.endswith("-changelog")} | {
            name for name in topics if name.endswith("-rebuild")
        }

    wait_until(lambda: not left(), "what the old version has left is gone", DEADLINE_S)


def test_a_rebuild_outlives_a_killed_server(new_server: NewServer, new_sql_app: NewSqlApp) -> None:
    server, app = new_server(), new_sql_app(SQL)
    load = Load(app)
    begin(server, app, load)
    with load.going_on():
        server.kill()
        server.start()
        await_switched(server, app)
    check_results(app, load)


def test_the_server_that_switches_is_killed_and_another_one_takes_over(
    new_server: NewServer, new_sql_app: NewSqlApp
) -> None:
    first, app = new_server(), new_sql_app(SQL)
    second = new_server(name=first.name)
    load = Load(app)
    begin(first, app, load)
    with load.going_on():
        wait_until(lambda: first.job(app.name)["rebuild"]["switching"], "it switches", SWITCHED_S)
        assert "is being switched" in first.deploy(app.name, app.sql, 409)["detail"]
        claimed_by = next(event["by"] for event in first.events() if event["event"] == "switching")
        claiming, other = (first, second) if f'"server": "{claimed_by}"' in first.log() else (second, first)
        claiming.kill()
        await_switched(other, app)
    check_results(app, load)


def test_a_rebuild_can_be_given_up_for_another_one_and_a_job_deleted_in_the_middle(
    new_server: NewServer, new_sql_app: NewSqlApp
) -> None:
    server, app = new_server(), new_sql_app(SQL)
    load = Load(app)
    begin(server, app, load)
    other = app.sql.replace("FROM hits GROUP BY", "FROM hits WHERE n >= 10 GROUP BY")
    assert server.deploy(app.name, other, 200, "?rebuild=true")["generation"] == 2
    assert server.job(app.name)["rebuild"]["generation"] == 2
    await_switched(server, app)
    wait_until(lambda: totals(app) == load.totals(lambda n: n >= 10), "results of the last version", DEADLINE_S)

    server.deploy(app.name, app.sql, 200, "?rebuild=true")
    server.answer("DELETE", f"/jobs/{app.name}", 204)
    own = (f"{app.name}.", f"{app.name}-")
    sinks = {f"{app.name}-{each}" for each in ("in", "totals", "tens", "odd")}

    def left() -> set[str]:
        topics = {name for name in app.admin.list_topics().topics if name.startswith(own)}
        return {name for name in topics - sinks if not name.endswith("-dead-letter")}

    wait_until(lambda: not left(), "topics of all versions are gone", DEADLINE_S)


def test_a_job_that_failed_is_mended_by_a_rebuild(new_server: NewServer, new_sql_app: NewSqlApp) -> None:
    server, app = new_server(), new_sql_app(SQL)
    load = Load(app)
    load.add(1_000)
    server.deploy(app.name, app.sql, settings={"on_error": "fail"})
    server.await_state(app.name, "running")
    wait_until(lambda: totals(app) == load.totals(), "results of the first version", DEADLINE_S)
    app.produce([row(0, k="k", n="many")])
    server.await_state(app.name, "failed")
    load.add(1_000)
    # What the old version has not read goes.
    first = KafkaPartition(app.source, 0)
    end = app.cluster.end_offsets([TopicPartition(app.source, 0)])[TopicPartition(app.source, 0)]
    app.admin.delete_records([KafkaPartition(app.source, 0, end)])[first].result()
    server.deploy(app.name, EVEN.replace("{name}", app.name), 200, "?rebuild=true")
    await_switched(server, app)
    load.add(1_000)
    wait_until(lambda: numbers(app, "tens")[-1] == load.count - 10, "it goes on", DEADLINE_S)


def test_what_would_keep_a_version_from_taking_over_is_told_before_the_old_one_stops(
    new_server: NewServer, new_sql_app: NewSqlApp
) -> None:
    server, app, wrong = new_server(), new_sql_app(SQL), new_sql_app(SQL)
    load = Load(app)
    load.add(100)
    server.deploy(app.name, app.sql)
    server.deploy(wrong.name, wrong.sql.replace(f"{wrong.name}-in", f"{wrong.name}-typo"))
    server.await_state(app.name, "running")
    latest = f"CREATE STREAM e (n BIGINT) WITH (topic = '{wrong.name}-in', start_from = 'latest');"
    refused = server.deploy(app.name, f"{app.sql}{latest}CREATE STREAM f AS SELECT n FROM e;", 422, "?rebuild=true")
    assert "start from different places" in refused["detail"]

    parted = app.sql.replace("-tens')", "-tens', partitions = 7)")
    server.deploy(app.name, parted, 200, "?rebuild=true")
    # A job that waits for a topic that does not exist is mended by a rebuild too.
    server.await_state(wrong.name, "waiting")
    server.deploy(wrong.name, wrong.sql, 200, "?rebuild=true")

    def reason() -> str:
        return server.job(app.name)["rebuild"]["reason"] or ""

    wait_until(lambda: "has 4 partitions, the app needs 7" in reason(), "it is told", DEADLINE_S)
    assert server.job(app.name)["state"] == "running"
    await_switched(server, wrong)
    assert server.job(app.name)["rebuild"]["switching"] is False
    server.deploy(app.name, EVEN.replace("{name}", app.name), 200, "?rebuild=true")
    await_switched(server, app)
    check_results(app, load)


KILLED_IN_COMMIT = """
import os
from headrace.app.server.transfer import Transfer

def commit(self, topic, key, value):
    self._produce(topic, key.encode(), value, 1, None)
    self._producer.flush()
    os.kill(os.getpid(), 9)

Transfer.commit = commit
from headrace.app.cli import main
main()
"""


def test_a_server_that_is_killed_while_it_commits_a_switch_blocks_nobody_for_long(
    new_server: NewServer, new_sql_app: NewSqlApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_server, "COMMAND", (sys.executable, "-c", KILLED_IN_COMMIT))
    server, app = new_server(), new_sql_app(SQL)
    monkeypatch.undo()
    load = Load(app)
    begin(server, app, load)
    wait_until(lambda: server.process.poll() is not None, "it is killed", SWITCHED_S)
    server.start()
    await_switched(server, app)
    check_results(app, load)
    server.deploy(f"{app.name}-other", app.sql.replace(f"{app.name}-", f"{app.name}-other-"))


WINDOWS = """\
CREATE STREAM hits (k VARCHAR, n BIGINT) WITH (topic = '{name}-in');
CREATE TABLE totals WITH (topic = '{name}-totals') AS SELECT k, COUNT(*) AS c, SUM(n) AS s FROM hits GROUP BY k;
CREATE STREAM minutes WITH (topic = '{name}-minutes') AS
  SELECT k, window_start, COUNT(*) AS n FROM hits WINDOW TUMBLING (1 m) GROUP BY k EMIT FINAL;
"""


def test_windows_that_close_because_nothing_comes_are_told_once(new_server: NewServer, new_sql_app: NewSqlApp) -> None:
    server, app = new_server(idle_timeout="2s"), new_sql_app(WINDOWS)
    server.deploy(app.name, app.sql)
    server.await_state(app.name, "running")
    minute, start = 60_000, 1_700_000_040_000
    app.produce([row(n % 4, start + n // 200 * minute, k="a", n=n) for n in range(1_000)])
    # The last one is open while all partitions are idle.
    wait_until(lambda: numbers(app, "minutes") == [200] * 4, "four windows are closed", DEADLINE_S)
    filtered = app.sql.replace("FROM hits GROUP BY", "FROM hits WHERE n > 10 GROUP BY")
    server.deploy(app.name, filtered, 200, "?rebuild=true")
    await_switched(server, app)
    app.produce([row(0, start + 7 * minute, k="b", n=1), row(1, start + 7 * minute, k="b", n=1)])
    wait_until(lambda: numbers(app, "minutes") == [200] * 5, "the fifth is closed", DEADLINE_S)

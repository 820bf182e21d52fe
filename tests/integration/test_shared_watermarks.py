"""Tasks that each read one partition of a keyed source: what their readers tell each other, on a real broker.

Windows of an idle partition close as the others go on, and only a partition's own reader says that it is idle.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from tests.integration.edge_cluster import records_of, wait_until
from tests.integration.sql_app import Input, NewSqlApp, Run, SqlApp, row

from headrace.agents.checkpoint import Progress, decode_progress
from headrace.agents.config import Guarantee

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

SQL = """
CREATE STREAM hits (k VARCHAR KEY, at TIMESTAMP, WATERMARK FOR at AS at) WITH (topic = '{name}-in');
CREATE TABLE windows WITH (topic = '{name}-windows') AS
SELECT k, window_start, COUNT(*) AS n FROM hits GROUP BY k WINDOW TUMBLING (SIZE 1 SECOND);
"""
SETTINGS = {"idle_timeout": "3s", "kafka.session.timeout.ms": "6000"}


def hit(partition: int, *times: int) -> list[Input]:
    """One key in each partition: `k0` in partition 0, and so on."""
    key = f"k{partition}"
    return [row(partition, key=key.encode(), k=key, at=time) for time in times]


def started(app: SqlApp, workers: int = 2, **settings: str) -> list[Run]:
    """Workers that share the partitions, each with one at least."""
    app.create_own_topics()
    runs = [app.worker(slot, **SETTINGS, **settings) for slot in range(workers)]
    count = app.cluster.source_partitions([app.source])[app.source]

    def shared() -> bool:
        shares = [partitions(run) for run in runs]
        return all(shares) and sorted(n for share in shares for n in share) == list(range(count))

    wait_until(shared, "the workers share the tasks")
    return runs


def partitions(run: Run) -> list[int]:
    """Source partitions that a worker has; none while one of them is not open."""
    if not (assigned := run.events("assigned")):
        return []
    tasks = {*assigned[-1]["kept"], *assigned[-1]["opening"]}
    opened = {event["task"] for event in run.events("task open")}
    return [int(task[-1]) for task in tasks] if tasks <= opened else []


@contextmanager
def kept_awake(app: SqlApp, partition: int, time: int) -> Iterator[None]:
    """Records of one event time come to a partition while inside; some have."""
    enough, begun = threading.Event(), threading.Event()

    def work() -> None:
        while not enough.wait(0.1):
            app.produce(hit(partition, time))
            begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert begun.wait(30.0)
        yield
    finally:
        enough.set()
        thread.join()


def words(app: SqlApp) -> Mapping[int, Progress]:
    """The last word on each source partition."""
    told = (decode_progress(m.key(), m.value()) for m in records_of(app.cluster, f"{app.name}-watermarks"))
    return {id_.partition: progress for id_, progress in told}


def idle(app: SqlApp) -> set[int]:
    """Partitions of which the last word is that they are idle."""
    return {partition for partition, progress in words(app).items() if progress.idle}


def closed(app: SqlApp) -> list[tuple[str, int, int]]:
    """Key, start and count of each result."""
    return sorted((value["k"], value["window_start"], value["n"]) for value in app.rows(f"{app.name}-windows"))


@pytest.mark.parametrize("guarantee", Guarantee)
def test_windows_of_a_silent_partition_close_as_the_other_goes_on(new_sql_app: NewSqlApp, guarantee: str) -> None:
    # partition 0  |--*            silence        its window [0, 1000) is open
    # partition 1  |---*---------- … *            read by another worker
    app = new_sql_app(SQL, partitions=2)
    started(app, guarantee=guarantee)
    app.produce(hit(0, 500))
    with kept_awake(app, 1, 900):
        wait_until(lambda: idle(app) == {0}, "partition 0 is idle, partition 1 is not")
        assert closed(app) == []
    with kept_awake(app, 1, 1_100):
        wait_until(lambda: ("k0", 0, 1) in closed(app), "the window of partition 0 closes")
    # What it brings for open windows counts.
    app.produce(hit(0, 1_700, 1_800))
    app.produce(hit(1, 2_000))
    wait_until(lambda: ("k0", 1_000, 2) in closed(app), "the next window closes")


def test_where_all_partitions_are_idle_the_largest_watermark_closes_windows(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL, partitions=3)
    started(app)
    app.produce(hit(0, 500) + hit(1, 900) + hit(2, 5_100))
    wait_until(lambda: len(closed(app)) == 2, "the windows close")
    assert idle(app) == {0, 1, 2}
    assert closed(app) == [("k0", 0, 1), ("k1", 0, 1)]


@pytest.mark.parametrize("blow", [signal.SIGSTOP, signal.SIGKILL])
def test_partition_of_a_worker_that_stands_still_or_is_dead_is_not_idle(
    new_sql_app: NewSqlApp, blow: signal.Signals
) -> None:
    # partition a  |--*            idle           its window [0, 1000) is open
    # partition b  |--------- … *  idle           far ahead
    # partition c  |---*                          its worker is struck before the partition is idle
    app = new_sql_app(SQL, partitions=3)
    victim, heir = started(app)
    struck, held = partitions(victim)[0], partitions(heir)[0]
    (ahead,) = {0, 1, 2} - {struck, held}
    with kept_awake(app, struck, 700):
        app.produce(hit(held, 500) + hit(ahead, 9_100))
        wait_until(lambda: idle(app) == {held, ahead}, "the other partitions are idle")
    victim.process.send_signal(blow)
    assert (closed(app), struck in idle(app)) == ([], False)
    # With the struck worker's partition idle, the largest watermark would close the window.
    wait_until(lambda: closed(app) != [], "the window closes when a reader that lives finds the partition idle")
    assert struck in idle(app)
    assert struck in partitions(heir)
    if blow is signal.SIGSTOP:
        victim.process.send_signal(signal.SIGCONT)


def test_partition_whose_windows_others_have_closed_does_not_open_them_again_after_a_restart(
    new_sql_app: NewSqlApp,
) -> None:
    app = new_sql_app(SQL, partitions=2)
    (run,) = started(app, workers=1)
    app.produce(hit(0, 500) + hit(1, 5_100))
    wait_until(lambda: closed(app) == [("k0", 0, 1)], "the window closes")
    assert run.stop() == 0
    assert idle(app) == set(), "a reader that stops takes back that its partitions are idle"
    app.produce(hit(0, 600, 5_200) + hit(1, 6_000))
    again = app.worker(**SETTINGS)
    wait_until(lambda: ("k0", 5_000, 1) in closed(app), "the next window closes")
    assert again.stop() == 0
    assert closed(app) == [("k0", 0, 1), ("k0", 5_000, 1), ("k1", 5_000, 1)]
    (stopped,) = again.events("stopped")
    assert stopped["records_late_after_idle"] == 1


UNITED = """
CREATE STREAM hits (k VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at) WITH (topic = '{name}-in');
CREATE STREAM others (k VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at) WITH (topic = '{name}-others', partitions = 2);
CREATE VIEW united AS SELECT k, at FROM hits UNION ALL SELECT k, at FROM others;
CREATE TABLE windows WITH (topic = '{name}-windows') AS
SELECT k, window_start, COUNT(*) AS n FROM united GROUP BY k WINDOW TUMBLING (SIZE 1 SECOND);
"""


@pytest.mark.parametrize("mode", ["partitioned", "single"])
def test_source_that_brings_nothing_holds_no_window_open(new_sql_app: NewSqlApp, mode: str) -> None:
    app = new_sql_app(UNITED, partitions=2)
    run = app.run("--mode", mode, "--set", "idle_timeout=2s")
    run.await_events("task open")
    app.produce(hit(0, 500, 1_200) + hit(1, 900, 2_100))
    wait_until(lambda: len(closed(app)) == 3, "the windows close")
    assert closed(app) == [("k0", 0, 1), ("k0", 1_000, 1), ("k1", 0, 1)]
    assert run.stop() == 0

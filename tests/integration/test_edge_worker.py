"""A worker on a real broker, with a hand-written counting task: nothing is lost, whatever happens to the processes."""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections import Counter

import pytest
from tests.integration.edge_cluster import NewEdgeApp, wait_until

from headrace.agents.config import Guarantee
from headrace.agents.ending import EXIT_KAFKA
from headrace.agents.reader import QUIET_S

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

SPAN_S = 3.0
WAKINGS_MAX = 8.0
"""A second; twice what there are: commits and fetches look once a second, and a heartbeat goes every other second."""


@pytest.mark.parametrize("mode", ["partitioned", "single"])
def test_worker_on_sigterm_has_committed_everything_and_exits_0(new_edge_app: NewEdgeApp, mode: str) -> None:
    app = new_edge_app(mode=mode)
    worker = app.start()
    worker.await_log("task open", times=4 if mode == "partitioned" else 1)
    app.produce(2_000)
    app.await_caught_up()
    app.produce(500)
    assert worker.stop() == 0
    assert sum(app.counts().values()) == sum(app.committed().values())

    again = app.start()
    again.await_log("task open", times=4 if mode == "partitioned" else 1)
    app.await_caught_up()
    assert again.stop() == 0
    assert sum(app.counts().values()) == 2_500
    results = Counter(message.key() for message in app.records(f"{app.name}-out"))
    assert results == dict.fromkeys(app.counts(), 50)
    assert "records=0" in again.log() or "state restored" not in again.log()


def test_worker_that_stops_in_a_rebalance_leaves_its_group(new_edge_app: NewEdgeApp) -> None:
    """Others would wait for it until its session, which is as long as this test may take, is over."""
    app = new_edge_app()
    member = {"session_timeout_s": 60.0, "kafka": {"heartbeat.interval.ms": "500"}}
    other = app.start(1, **member)
    other.await_log("task open", times=4)
    worker = app.start(stops_in_rebalance=True, **member)
    worker.await_log("task open", times=2)
    assert worker.stop() == 0
    other.await_log("task open", times=6)
    assert other.stop() == 0


def test_worker_goes_on_committing_however_many_batches_come(
    new_edge_app: NewEdgeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust has a commit of its own after so many batches: by its default it would come after 10,000."""
    monkeypatch.setenv("BROKER_COMMIT_EVERY", "3")
    app = new_edge_app()
    worker = app.start()
    worker.await_log("task open", times=4)
    for _ in range(12):
        app.produce(1)
        app.await_caught_up()
    assert worker.stop() == 0
    assert sum(app.counts().values()) == 12


@pytest.mark.timeout(120)
def test_worker_to_which_nothing_comes_sleeps_and_wakes_for_others(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app(partitions=2)
    worker = app.start(session_timeout_s=10.0)
    worker.await_log("task open", times=2)
    app.produce(10)
    app.await_caught_up()
    began_at, before = time.monotonic(), worker.wakings()

    def sleeps() -> bool:
        nonlocal began_at, before
        seconds = time.monotonic() - began_at
        if seconds < SPAN_S:
            return False
        count = worker.wakings()
        wakings_s = (count - before) / seconds
        began_at, before = began_at + seconds, count
        return wakings_s < WAKINGS_MAX

    wait_until(sleeps, f"less than {WAKINGS_MAX} wakings a second", QUIET_S + 6 * SPAN_S)
    other = app.start(slot=1)
    other.await_log("task open")
    app.produce(10)
    app.await_caught_up()
    assert worker.stop() == other.stop() == 0
    assert sum(app.counts().values()) == 20


def test_outputs_keep_their_timestamps_and_find_their_partition_as_any_client_would(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    worker = app.start()
    worker.await_log("task open", times=4)
    app.produce(100)
    app.await_caught_up()
    partitions: dict[bytes, set[int]] = {}
    for message in app.records(f"{app.name}-out"):
        assert message.timestamp()[1] == 1_700_000_000_000
        partitions.setdefault(message.key(), set()).add(message.partition())
    assert len(partitions) == 50
    assert all(len(found) == 1 for found in partitions.values())


def test_worker_killed_loses_nothing_and_goes_on_with_its_state(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    worker = app.start(instance_id="edge")
    worker.await_log("task open", times=4)
    app.produce(2_000)
    app.await_caught_up()
    worker.kill()
    app.produce(1_000)
    again = app.start(instance_id="edge")
    app.await_caught_up()
    assert sum(app.counts().values()) == 3_000
    assert again.stop() == 0


def test_worker_whose_instance_id_another_one_has_taken_ends_and_says_so(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    first = app.start(instance_id="edge")
    first.await_log("task open", times=4)
    second = app.start(instance_id="edge")
    assert first.exit_code() == EXIT_KAFKA
    assert "another worker has the instance_id of this one" in first.log()
    second.await_log("task open", times=4)
    app.produce(500)
    app.await_caught_up()
    assert second.stop() == 0
    assert sum(app.counts().values()) == 500


def test_worker_without_its_directory_restores_from_the_changelog(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    worker = app.start()
    worker.await_log("task open", times=4)
    app.produce(2_000)
    app.await_caught_up()
    assert worker.stop() == 0
    shutil.rmtree(app.directory / "state")
    app.produce(1_000)
    again = app.start()
    app.await_caught_up()
    assert sum(app.counts().values()) == 3_000
    assert again.log().count("state restored") == 4


def test_changes_of_a_commit_that_was_cut_off_by_a_kill_do_not_count(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app(partitions=1)
    worker = app.start()
    worker.await_log("task open")
    app.produce(1_000)
    app.await_caught_up()
    assert worker.stop() == 0
    # What a worker leaves that is killed while it writes: changes without the checkpoint behind them.
    app.write_changelog({b"k1": None, b"k2": b"999", b"k99": b"5"})
    for total in (1_030, 1_060):
        shutil.rmtree(app.directory / "state")
        again = app.start()
        app.produce(30, keys=30 if total == 1_030 else 1)
        app.await_caught_up()
        assert again.stop() == 0
        assert sum(app.counts().values()) == total
        assert app.counts().keys() == {b"k%d" % number for number in range(50)}


def test_revoke_commits_what_was_read_before_the_partitions_go(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    # Its outputs tell what it has read: exactly once, they would come with the commit.
    first = app.start(commit_interval_s=3600.0, guarantee="at_least_once")
    first.await_log("task open", times=4)
    app.produce(1_000)
    wait_until(lambda: len(list(app.records(f"{app.name}-out"))) == 1_000, "the first worker has read all")
    assert sum(app.committed().values()) == 0
    second = app.start(slot=1, commit_interval_s=3600.0, guarantee="at_least_once")
    second.await_log("task open", times=2)
    assert sum(app.committed().values()) == 1_000
    assert "kept=['count-0', 'count-1']" in first.log() or first.log().count("kept=[]") == 1
    assert len(list(app.records(f"{app.name}-out"))) == 1_000


def test_two_workers_share_the_tasks_and_take_over_from_each_other(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    first = app.start()
    first.await_log("task open", times=4)
    app.produce(1_000)
    second = app.start(slot=1)
    second.await_log("task open", times=2)
    app.produce(1_000)
    app.await_caught_up()
    assert first.stop() == 0
    second.await_log("task open", times=4)
    app.produce(1_000)
    app.await_caught_up()
    assert second.stop() == 0
    assert sum(app.counts().values()) == 3_000


def test_second_worker_in_mode_single_stands_by_until_the_first_goes(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app(mode="single")
    first = app.start()
    first.await_log("task open")
    second = app.start(slot=1)
    second.await_log("assigned")
    app.produce(1_000)
    app.await_caught_up()
    assert "task open" not in second.log()
    assert first.stop() == 0
    app.produce(1_000)
    app.await_caught_up()
    assert sum(app.counts().values()) == 2_000


def test_paused_worker_whose_tasks_went_on_elsewhere_does_not_move_offsets_back(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app(partitions=1)
    first = app.start()
    first.await_log("task open")
    app.produce(1_000)
    app.await_caught_up()
    first.signal(signal.SIGSTOP)
    second = app.start(slot=1)
    second.await_log("task open")
    app.produce(1_000)
    app.await_caught_up()
    first.signal(signal.SIGCONT)
    second.await_log("assigned", times=2)
    app.produce(1_000)
    app.await_caught_up()
    assert sum(app.counts().values()) == 3_000


@pytest.mark.parametrize("guarantee", Guarantee)
def test_paused_worker_whose_tasks_went_on_elsewhere_can_commit_nothing(
    new_edge_app: NewEdgeApp, guarantee: str
) -> None:
    app = new_edge_app(partitions=1)
    first = app.start(guarantee=guarantee, commit_interval_s=3600.0)
    first.await_log("task open")
    app.produce(999)
    app.produce(1, value=b"say")
    first.await_log("a record says say")
    first.signal(signal.SIGSTOP)
    second = app.start(slot=1, guarantee=guarantee)
    second.await_log("task open")
    app.produce(1_000)
    app.await_caught_up()
    assert sum(app.counts().values()) == 2_000
    first.signal(signal.SIGCONT)
    first.stop()
    assert sum(app.counts().values()) == 2_000
    assert sum(app.committed().values()) == 2_000
    if guarantee == Guarantee.EXACTLY_ONCE:
        assert len(list(app.records(f"{app.name}-out"))) == 2_000


def test_task_that_breaks_on_a_record_goes_on_from_what_was_committed(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    worker = app.start()
    worker.await_log("task open", times=4)
    app.produce(1_000)
    app.produce(1, value=b"break 2")
    app.produce(1_000)
    app.await_caught_up()
    assert worker.log().count("a record breaks the task") >= 2
    assert sum(app.counts().values()) == len(list(app.records(f"{app.name}-out"))) == 2_001


def test_record_that_breaks_its_task_three_times_ends_the_worker_and_is_named(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app(partitions=1)
    worker = app.start()
    worker.await_log("task open")
    app.produce(1_000)
    app.produce(1, value=b"break 9")
    app.produce(1_000)
    assert worker.exit_code() == 1
    assert f"3 attempts to process {app.name}-in partition 0 offset 1000: ValueError: a record breaks" in worker.log()
    assert sum(app.counts().values()) <= 1_000


def test_finite_run_exits_0_when_all_inputs_are_committed_as_ended(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    app.start().await_log("task open", times=4)
    app.workers[0].stop()
    app.produce(1_000, keys=3)
    ends = app.ends()
    assert 0 in ends.values(), "an empty partition has to end as well"
    app.produce(10)
    workers = [app.start(slot=slot, ends=ends) for slot in (0, 1)]
    assert [worker.exit_code() for worker in workers] == [0, 0]
    assert sum(app.counts().values()) == 1_000
    assert app.start(ends=ends).exit_code() == 0


def test_task_that_stops_ends_the_worker_with_1_before_it_commits(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    worker = app.start()
    worker.await_log("task open", times=4)
    app.produce(1, value=b"stop")
    assert worker.exit_code() == 1
    assert "a record says stop" in worker.log()
    assert sum(app.committed().values()) == 0


def test_output_that_kafka_refuses_ends_the_worker_with_3_before_offsets_are_committed(
    new_edge_app: NewEdgeApp,
) -> None:
    app = new_edge_app()
    worker = app.start()
    worker.await_log("task open", times=4)
    app.alter_topic(f"{app.name}-out", "max.message.bytes", "200")
    app.produce(10, value=b"size 1000")
    assert worker.exit_code() == 3
    # librdkafka tells of the record, or of the request that had it, whichever comes first.
    assert re.search(f"worker failed .*(topic|ProduceRequest for) {app.name}-out", worker.log())
    assert sum(app.committed().values()) == 0


def test_output_larger_than_its_topic_takes_becomes_a_dead_letter(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    worker = app.start()
    worker.await_log("task open", times=4)
    app.produce(1, value=b"size 1500000")
    app.produce(10)
    app.await_caught_up()
    (letter,) = app.records(f"{app.name}-dead-letter")
    headers = dict(letter.headers())
    assert letter.key() == b"k0"
    assert headers["headrace.error.class"] == b"RecordTooLarge"
    assert headers["headrace.error.topic"] == f"{app.name}-out".encode()
    assert len(list(app.records(f"{app.name}-out"))) == 10


def test_records_deleted_before_they_were_read_are_for_the_task_to_judge(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app(partitions=1)
    worker = app.start()
    worker.await_log("task open")
    app.produce(100)
    app.await_caught_up()
    assert worker.stop() == 0
    app.produce(100)
    app.delete_records_before(150)
    again = app.start()
    assert again.exit_code() == 1
    assert "expected 100, got 150" in again.log()
    assert sum(app.committed().values()) == 100


def test_unreachable_broker_ends_the_worker_with_3_and_names_the_address(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    app.bootstrap = "127.0.0.1:1"
    worker = app.start()
    assert worker.exit_code(15.0) == 3
    assert "127.0.0.1:1" in worker.log()


def test_worker_with_another_plan_is_refused_and_the_group_goes_on(new_edge_app: NewEdgeApp) -> None:
    app = new_edge_app()
    worker = app.start()
    worker.await_log("task open", times=4)
    other = app.start(slot=1, plan="p2")
    assert other.exit_code() == 1
    assert "headrace reset" in other.log()
    app.produce(100)
    app.await_caught_up()

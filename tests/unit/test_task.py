"""Tasks: positions, idleness, the end of finite runs, and what a checkpoint brings back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from headrace.agents.checkpoint import CHECKPOINT_KEY, Progress, decode_progress, read_metadata
from headrace.agents.errors import TaskStopped
from headrace.agents.tables import MemoryStore
from headrace.agents.task import Task, TaskSettings
from headrace.agents.task_factory import TaskFactory
from headrace.agents.topology import TaskId
from headrace.app.application import App
from headrace.sql.physical import Mode
from headrace.sql.runtime.codec import Block
from headrace.sql.runtime.records import Change, MemoryBatch, Position, TopicPartition
from headrace.sql.runtime.watermarks import END, START

SQL = """\
CREATE STREAM events (k VARCHAR KEY, at TIMESTAMP, WATERMARK FOR at);
CREATE TABLE windows AS SELECT k, COUNT(*) AS n FROM events GROUP BY k WINDOW TUMBLING (SIZE 1 SECOND);
"""
FIRST, SECOND, THIRD = (TopicPartition("events", number) for number in range(3))


def factory(
    mode: Mode = Mode.SINGLE,
    sql: str = SQL,
    *,
    continue_when_lost: bool = False,
    exactly_once: bool = True,
    partitions: int = 2,
) -> TaskFactory:
    app = App(sql, "app")
    topology = app.topology(mode, {"events": partitions}, 2)
    settings = TaskSettings(30.0, continue_when_lost=continue_when_lost, exactly_once=exactly_once)
    return TaskFactory(app.stages(mode), topology, settings)


def open_task(store: MemoryStore, made: TaskFactory | None = None) -> Task:
    made = made or factory()
    return made.open(made.topology.tasks[0], store, {})


def feed(task: Task, partition: TopicPartition, *times: int, offset: int | None = None) -> None:
    """Records of key `a` at these event times, at the partition's next offsets."""
    start = task.next_offsets.get(partition, 0) if offset is None else offset
    count = len(times)
    values: list[bytes | None] = [b'{"k":"a","at":%d}' % time for time in times]
    keys: list[bytes | None] = [b"a"] * count
    offsets = list(range(start, start + count))
    task.process(MemoryBatch(*partition, start, start + count, values, keys, [1] * count, offsets, [()] * count))


def emitted(task: Task) -> list[tuple[int, int]]:
    """(window start, count) of every result taken from a task."""
    return [
        (json.loads(key or b"")["window_start"], json.loads(value or b"")["n"])
        for output in task.take_outputs()
        if output.topic == "windows"
        for key, value in zip(output.keys, output.values, strict=True)
    ]


def test_window_waits_for_the_slowest_partition() -> None:
    # partition 0  |--*-------|---*      read to 1500
    # partition 1  |-*--------|          read to 100: its watermark holds the window [0, 1000) open
    task = open_task(MemoryStore())
    feed(task, FIRST, 200, 1_500)
    feed(task, SECOND, 100)
    assert emitted(task) == []
    feed(task, SECOND, 1_200)
    assert emitted(task) == [(0, 2)]


def test_idle_partition_stops_holding_windows_open_after_the_timeout() -> None:
    task = open_task(MemoryStore())
    feed(task, FIRST, 200, 1_500)
    task.tick(100.0, [SECOND])
    task.tick(129.0, [SECOND])
    assert emitted(task) == []
    task.tick(130.0, [SECOND])
    assert emitted(task) == [(0, 1)]


def test_partition_that_wakes_up_holds_windows_open_again() -> None:
    task = open_task(MemoryStore())
    feed(task, FIRST, 200)
    task.tick(0.0, [SECOND])
    task.tick(30.0, [SECOND])
    feed(task, SECOND, 300)
    feed(task, FIRST, 1_500)
    assert emitted(task) == []
    feed(task, SECOND, 1_600)
    assert emitted(task) == [(0, 2)]


def test_partition_is_idle_and_awake_as_whoever_leads_says() -> None:
    task = open_task(MemoryStore())
    feed(task, FIRST, 200, 1_500)
    feed(task, SECOND, 300)
    assert emitted(task) == []
    task.sleep(SECOND)
    assert emitted(task) == [(0, 2)]
    task.wake([])
    feed(task, FIRST, 2_600)
    assert emitted(task) == [(1_000, 1)]
    task.wake([SECOND])
    feed(task, FIRST, 3_700)
    assert emitted(task) == []


@pytest.mark.parametrize(("instead", "written"), [("elsewhere", {"elsewhere"}), (None, set())])
def test_results_that_another_version_writes_still_go_elsewhere_or_nowhere(
    instead: str | None, written: set[str]
) -> None:
    app = App(SQL, "app")
    topology = app.topology(Mode.SINGLE, {"events": 2}, 2, {"windows": instead})
    settings = TaskSettings(30.0, continue_when_lost=False)
    task = open_task(MemoryStore(), TaskFactory(app.stages(Mode.SINGLE), topology, settings))
    feed(task, FIRST, 200, 1_500)
    feed(task, SECOND, 300, 1_600)
    assert {output.topic for output in task.take_outputs()} == written
    assert task.emitted == {"windows": 1}


def test_partition_that_is_not_read_to_its_end_is_never_idle() -> None:
    task = open_task(MemoryStore())
    feed(task, FIRST, 200, 1_500)
    for now in (100.0, 200.0, 300.0):
        task.tick(now, [])
    assert emitted(task) == []


def test_row_for_a_window_closed_while_its_partition_was_idle_is_counted_apart() -> None:
    task = open_task(MemoryStore())
    feed(task, FIRST, 200, 1_500)
    task.tick(0.0, [SECOND])
    task.tick(30.0, [SECOND])
    assert emitted(task) == [(0, 1)]
    feed(task, SECOND, 300, 1_600)
    assert task.counters["windows"].late == 0
    assert task.counters["windows"].late_after_idle == 1
    task.end_input(FIRST)
    task.end_input(SECOND)
    assert emitted(task) == [(1_000, 2)]


def test_checkpoint_brings_back_positions_watermarks_and_open_windows() -> None:
    store = MemoryStore()
    task = open_task(store)
    feed(task, FIRST, 200, 1_500)
    feed(task, SECOND, 100)
    cut = task.cut()
    assert cut is not None
    assert cut.changelog[-1][0] == CHECKPOINT_KEY
    store.apply(cut.changelog, 1)
    again = open_task(store)
    assert dict(again.next_offsets) == {FIRST: 2, SECOND: 1}
    feed(again, SECOND, 1_200)
    assert emitted(again) == [(0, 2)]


def test_watermark_of_a_reopened_task_does_not_go_back() -> None:
    # partition 0  |--*-------|---*      read to 1500
    # partition 1  |          |          idle: the window [0, 1000) closes; then it wakes up, and the task is reopened
    store = MemoryStore()
    task = open_task(store)
    feed(task, FIRST, 200, 1_500)
    task.tick(0.0, [SECOND])
    task.tick(30.0, [SECOND])
    feed(task, SECOND, 300)
    assert emitted(task) == [(0, 1)]
    store.apply(cut_changes(task), 1)
    again = open_task(store)
    assert again.watermark == 1_500
    feed(again, SECOND, 400, 1_600)
    assert emitted(again) == []
    assert again.counters["windows"].late_after_idle == 1


def test_partition_of_a_reopened_task_is_not_idle_until_its_reader_says_so_again() -> None:
    store = MemoryStore()
    task = open_task(store)
    feed(task, FIRST, 200)
    feed(task, SECOND, 300)
    task.tick(0.0, [SECOND])
    task.tick(30.0, [SECOND])
    store.apply(cut_changes(task), 1)
    again = open_task(store)
    feed(again, FIRST, 1_500)  # what came while nobody read: there may be more in the other partition
    assert emitted(again) == []
    again.tick(100.0, [FIRST, SECOND])
    feed(again, SECOND, 400, 1_600)
    assert emitted(again) == [(0, 3)]


def test_reader_that_stops_takes_back_that_its_partition_is_idle_and_so_does_its_successor() -> None:
    made = factory(Mode.PARTITIONED, SQL.replace(" KEY", ""))
    task = open_task(MemoryStore(), made)
    feed(task, FIRST, 200)
    assert said_to_others(task)[0] == [(200, False)]
    task.tick(0.0, [FIRST])
    task.tick(30.0, [FIRST])
    words, positions = said_to_others(task)
    assert words == [(200, True)]
    task.wake()
    assert said_to_others(task)[0] == [(200, False)]
    assert said_to_others(made.open(made.topology.tasks[0], MemoryStore(), positions))[0] == [(200, False)]


def said_to_others(task: Task) -> tuple[list[tuple[int, bool]], Mapping[TopicPartition, Position]]:
    """Watermark and idleness as the stage behind hears them with a commit, and the positions of that."""
    cut = task.cut()
    assert cut is not None
    values = [v or b"" for output in cut.outputs if output.topic.endswith("-repartition") for v in output.values]
    blocks = [msgspec.msgpack.decode(value, type=Block) for value in values]
    return sorted({(block.watermark, block.idle) for block in blocks}), cut.positions


def test_partition_that_came_later_holds_no_window_open_before_it_has_brought_a_record() -> None:
    # partition 0  |--*-------|---*-------
    # partition 1  |-----*----|---*-------
    # partition 2  |          |      *         the source has got it since
    store = MemoryStore()
    task = open_task(store)
    feed(task, FIRST, 200)
    feed(task, SECOND, 300)
    store.apply(cut_changes(task), 1)
    again = open_task(store, factory(partitions=3))
    feed(again, FIRST, 1_500)
    feed(again, SECOND, 1_600)
    assert emitted(again) == [(0, 2)]
    feed(again, THIRD, 900, 1_700)
    assert again.counters["windows"].late_after_idle == 1
    feed(again, FIRST, 2_900)
    feed(again, SECOND, 2_900)
    assert emitted(again) == []
    feed(again, THIRD, 2_900)
    assert emitted(again) == [(1_000, 3)]


def test_offsets_tell_how_many_partitions_the_source_had_when_they_were_first_read() -> None:
    sql = SQL.replace(" KEY", "")
    grown = factory(Mode.PARTITIONED, sql, partitions=3)
    task = open_task(MemoryStore(), factory(Mode.PARTITIONED, sql))
    feed(task, FIRST, 200)
    positions = said_to_others(task)[1]
    assert read_metadata(positions[FIRST]).source_partitions == 2
    again = grown.open(grown.topology.tasks[0], MemoryStore(), positions)
    feed(again, FIRST, 300)
    assert read_metadata(said_to_others(again)[1][FIRST]).source_partitions == 2


def keyed_task(sql: str = SQL, store: MemoryStore | None = None) -> tuple[Task, TaskId]:
    """The task of partition 0 of a source that is grouped by its key, and the name of that of partition 1."""
    made = factory(Mode.PARTITIONED, sql)
    return open_task(store or MemoryStore(), made), made.topology.tasks[1].id


def fall_idle(task: Task) -> None:
    task.tick(100.0, [FIRST])
    task.tick(130.0, [FIRST])


def test_idle_partition_of_a_keyed_source_goes_on_with_what_the_other_readers_tell() -> None:
    task, other = keyed_task()
    feed(task, FIRST, 200)
    fall_idle(task)
    task.hear({other: Progress(900, idle=False)})
    assert emitted(task) == []
    task.hear({other: Progress(1_500, idle=False)})
    assert emitted(task) == [(0, 1)]


def test_partition_of_a_keyed_source_that_is_not_idle_waits_for_itself_alone() -> None:
    task, other = keyed_task()
    feed(task, FIRST, 200)
    task.hear({other: Progress(9_000, idle=False)})
    task.tick(100.0, [FIRST])
    task.tick(129.0, [FIRST])
    assert emitted(task) == []
    task.tick(130.0, [FIRST])
    assert emitted(task) == [(0, 1)]


def test_reader_that_was_last_heard_of_while_it_read_holds_idle_partitions_for_ever() -> None:
    task, other = keyed_task()
    feed(task, FIRST, 200, 800)
    task.hear({other: Progress(900, idle=False)})
    fall_idle(task)
    task.tick(10_000.0, [FIRST])
    assert emitted(task) == []
    assert task.watermark == 900


def test_reader_that_nobody_has_heard_of_holds_idle_partitions() -> None:
    task, other = keyed_task()
    feed(task, FIRST, 200, 800)
    fall_idle(task)
    assert task.watermark == 800
    task.hear({other: Progress(900, idle=False)})
    assert task.watermark == 900


def test_where_all_partitions_of_a_keyed_source_are_idle_the_largest_watermark_counts() -> None:
    task, other = keyed_task()
    feed(task, FIRST, 200)
    fall_idle(task)
    task.hear({other: Progress(5_000, idle=True)})
    assert emitted(task) == [(0, 1)]
    assert task.watermark == 5_000


def test_task_takes_neither_its_own_word_nor_that_of_another_stage_for_a_peers() -> None:
    task, _ = keyed_task()
    feed(task, FIRST, 200)
    fall_idle(task)
    task.hear({task.spec.id: Progress(9_000, idle=False), TaskId("other-0", 1): Progress(9_000, idle=False)})
    assert task.watermark == 200


def test_idle_partition_of_a_keyed_source_does_not_go_back_over_a_restart() -> None:
    store = MemoryStore()
    task, other = keyed_task(store=store)
    feed(task, FIRST, 200)
    fall_idle(task)
    task.hear({other: Progress(1_500, idle=False)})
    assert emitted(task) == [(0, 1)]
    store.apply(cut_changes(task), 1)
    again, _ = keyed_task(store=store)
    assert again.watermark == 1_500
    again.hear({other: Progress(9_000, idle=False)})
    assert again.watermark == 1_500, "not idle until its reader has found that out"
    feed(again, FIRST, 300, 1_600)
    assert emitted(again) == []
    assert again.counters["windows"].late_after_idle == 1
    feed(again, FIRST, 2_100)
    assert emitted(again) == [(1_000, 1)]


def test_task_of_a_keyed_source_tells_with_a_commit_what_has_changed() -> None:
    task, _ = keyed_task()
    assert told(task) == (task.spec.id, Progress(START, idle=False))
    feed(task, FIRST, 200, 700)
    assert told(task) == (task.spec.id, Progress(700, idle=False))
    feed(task, FIRST, 600)
    assert told(task) is None
    fall_idle(task)
    assert told(task) == (task.spec.id, Progress(700, idle=True))
    task.wake()
    assert told(task) == (task.spec.id, Progress(700, idle=False))
    task.end_input(FIRST)
    assert told(task) == (task.spec.id, Progress(END, idle=False))


def told(task: Task) -> tuple[TaskId, Progress] | None:
    cut = task.cut()
    if cut is None or cut.watermark is None:
        return None
    key, value = cut.watermark
    return decode_progress(key, value or b"")


def test_task_that_goes_on_with_others_makes_the_stages_behind_wait_for_its_results() -> None:
    task, other = keyed_task(SQL + "CREATE TABLE sums AS SELECT n, COUNT(*) AS c FROM windows GROUP BY n EMIT CHANGES;")
    feed(task, FIRST, 200)
    fall_idle(task)
    assert said_to_others(task)[0] == [(200, False)]
    task.hear({other: Progress(1_500, idle=False)})
    assert said_to_others(task)[0] == [(1_500, False)]


def test_nothing_to_commit_makes_no_cut() -> None:
    task = open_task(MemoryStore())
    assert task.cut() is None
    feed(task, FIRST, 200)
    assert task.cut() is not None
    assert task.cut() is None


def test_closed_window_leaves_only_the_checkpoint_in_the_store() -> None:
    store = MemoryStore()
    task = open_task(store)
    feed(task, FIRST, 200)
    feed(task, SECOND, 300)
    for _ in range(2):
        cut = task.cut()
        assert cut is not None
        store.apply(cut.changelog, 1)
        task.end_input(FIRST)
        task.end_input(SECOND)
    assert [key for key, _ in store.scan(b"", b"\xff\xff")] == [CHECKPOINT_KEY]
    assert task.ended


def test_batch_behind_the_state_stops_the_task() -> None:
    task = open_task(MemoryStore())
    feed(task, FIRST, 200)
    with pytest.raises(TaskStopped, match="read again from offset 0, the state is at 1"):
        feed(task, FIRST, 200, offset=0)


def test_lost_records_stop_the_task_unless_told_to_go_on() -> None:
    task = open_task(MemoryStore())
    feed(task, FIRST, 200)
    with pytest.raises(TaskStopped, match=r"records 1 to 4 were deleted before they were read"):
        feed(task, FIRST, 300, offset=5)
    lenient = open_task(MemoryStore(), factory(continue_when_lost=True))
    feed(lenient, FIRST, 200)
    feed(lenient, FIRST, 300, offset=5)
    assert lenient.lost == {FIRST: 4}


def test_memory_of_outputs_that_wait_is_known_until_they_are_taken() -> None:
    source = "CREATE STREAM events (k VARCHAR KEY, at TIMESTAMP, WATERMARK FOR at);"
    task = open_task(MemoryStore(), factory(sql=f"{source} SELECT REPEAT('x', 1000) AS x FROM events;"))
    feed(task, FIRST, 1, 2, 3)
    feed(task, SECOND, 1)
    waiting = task.pending_bytes
    assert waiting == sum(len(value or b"") for output in task.take_outputs() for value in output.values) > 4_000
    assert task.pending_bytes == 0


def test_records_that_are_lost_at_the_end_of_a_partition_count_without_one_that_follows() -> None:
    strict, lenient = open_task(MemoryStore()), open_task(MemoryStore(), factory(continue_when_lost=True))
    for task in (strict, lenient):
        feed(task, FIRST, 200)
    with pytest.raises(TaskStopped, match=r"records 1 to 4 were deleted before they were read"):
        strict.skip(FIRST, 5)
    lenient.skip(FIRST, 5)
    assert (lenient.lost[FIRST], lenient.next_offsets[FIRST]) == (4, 5)
    cut = lenient.cut()
    assert cut is not None
    assert cut.positions[FIRST].next_offset == 5


def test_state_of_another_query_is_refused_and_reset_named() -> None:
    store = MemoryStore()
    task = open_task(store)
    feed(task, FIRST, 200)
    cut = task.cut()
    assert cut is not None
    store.apply(cut.changelog, 1)
    other = factory(sql=SQL.replace("1 SECOND", "2 SECONDS"))
    with pytest.raises(TaskStopped, match="headrace reset"):
        open_task(store, other)


def test_records_after_the_end_of_a_finite_run_are_refused() -> None:
    task = open_task(MemoryStore())
    feed(task, FIRST, 200)
    task.end_input(FIRST)
    with pytest.raises(TaskStopped, match="ran --until-end"):
        feed(task, FIRST, 300)


@pytest.mark.parametrize(
    ("exactly_once", "group", "state", "allowed"),
    [
        (True, 2, 2, True),
        (True, 1, 2, False),
        (True, 3, 2, False),
        (True, None, 2, True),
        (False, 2, 2, True),
        (False, 1, 2, True),
        (False, 3, 2, False),
    ],
    ids=lambda value: str(value),
)
def test_state_and_group_must_have_read_equally_far(
    exactly_once: bool, group: int | None, state: int, allowed: bool
) -> None:
    """At least once, a crash may leave the group behind; a group that has forgotten its offsets is no harm."""
    made = factory(exactly_once=exactly_once)
    store = MemoryStore()
    task = open_task(store, made)
    feed(task, FIRST, *range(state))
    store.apply(cut_changes(task), 10)
    positions = {} if group is None else {FIRST: Position(group, "")}
    if allowed:
        assert made.open(made.topology.tasks[0], store, positions).next_offsets[FIRST] == state
    else:
        with pytest.raises(TaskStopped, match=f"group stands at offset {group}, the state of .* at {state}"):
            made.open(made.topology.tasks[0], store, positions)


def test_group_that_has_read_without_a_state_to_show_for_it_is_refused() -> None:
    with pytest.raises(TaskStopped, match="records of app-windows-0-changelog are lost"):
        factory().open(factory().topology.tasks[0], MemoryStore(), {FIRST: Position(7, "")})


def cut_changes(task: Task) -> Sequence[Change]:
    cut = task.cut()
    assert cut is not None
    return cut.changelog


OVER = """\
CREATE STREAM events (k VARCHAR KEY, at TIMESTAMP, WATERMARK FOR at);
CREATE STREAM numbered AS SELECT k, at, ROW_NUMBER() OVER (PARTITION BY k ORDER BY at) AS n FROM events;
"""


def numbered(task: Task) -> list[tuple[int, int]]:
    """(event time, number) of every row taken from a task."""
    rows = [json.loads(v or b"") for o in task.take_outputs() if o.topic == "numbered" for v in o.values]
    return [(row["at"], row["n"]) for row in rows]


def test_rows_of_over_wait_for_the_slowest_partition() -> None:
    # partition 0  |--*-----*---|      200, 900
    # partition 1  |---*--------|      300: rows before it are final, the one at it is not
    task = open_task(MemoryStore(), factory(sql=OVER))
    feed(task, FIRST, 900, offset=0)
    feed(task, FIRST, 200)
    assert task.counters["numbered"].late == 1
    feed(task, SECOND, 100, 300)
    assert numbered(task) == [(100, 1)]
    feed(task, SECOND, 901)
    assert numbered(task) == [(300, 2)]
    task.end_input(FIRST)
    task.end_input(SECOND)
    assert numbered(task) == [(900, 3), (901, 4)]


def test_row_of_over_that_comes_after_its_time_while_its_partition_was_idle_is_counted_apart() -> None:
    task = open_task(MemoryStore(), factory(sql=OVER))
    feed(task, FIRST, 200, 1_500)
    task.tick(0.0, [SECOND])
    task.tick(30.0, [SECOND])
    assert numbered(task) == [(200, 1)]
    feed(task, SECOND, 300, 1_600)
    assert task.counters["numbered"].late == 0
    assert task.counters["numbered"].late_after_idle == 1


def test_checkpoint_brings_back_rows_that_wait_and_numbers() -> None:
    store = MemoryStore()
    made = factory(sql=OVER)
    task = open_task(store, made)
    feed(task, FIRST, 100, 500)
    feed(task, SECOND, 300)
    assert numbered(task) == [(100, 1)]
    cut = task.cut()
    assert cut is not None
    store.apply(cut.changelog, 1)
    again = open_task(store, made)
    feed(again, SECOND, 600)
    assert numbered(again) == [(300, 2)]


@pytest.mark.parametrize("window", ["", "WINDOW TUMBLING (SIZE 1 SECOND)", "WINDOW SESSION (1 SECOND)"])
def test_partial_aggregates_are_pending_until_a_cut_sends_them(window: str) -> None:
    app = App(
        "CREATE STREAM e (k VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at);"
        f"CREATE TABLE t WITH (changes = 'latest') AS SELECT k, COUNT(*) AS n FROM e {window} GROUP BY k EMIT CHANGES;",
        "app",
    )
    topology = app.topology(Mode.PARTITIONED, {"e": 1}, 1)
    made = TaskFactory(app.stages(Mode.PARTITIONED), topology, TaskSettings(30.0, continue_when_lost=False))
    (spec,) = (spec for spec in topology.tasks if spec.changelog is None)
    task = made.open(spec, MemoryStore(), {})
    values: list[bytes | None] = [b'{"k":"%b","at":1000}' % key for key in (b"a", b"b", b"a", b"c")]
    task.process(MemoryBatch("e", 0, 0, 4, values, [None] * 4, [1] * 4, list(range(4)), [()] * 4))
    assert task.pending == 3
    assert task.cut() is not None
    assert task.pending == 0


BIG = "CREATE STREAM events (k VARCHAR KEY, n BIGINT); CREATE STREAM big AS SELECT * FROM events WHERE n > {least};"


def positions_of(sql: str) -> tuple[TaskFactory, dict[TopicPartition, Position]]:
    """A factory of the app, and what its first task commits after a record."""
    made = factory(Mode.PARTITIONED, sql)
    task = open_task(MemoryStore(), made)
    task.process(MemoryBatch("events", task.spec.id.partition, 0, 1, [b'{"k":"a","n":5}'], [b"a"], [0], [0], [()]))
    cut = task.cut()
    assert cut is not None
    return made, dict(cut.positions)


def test_a_stateless_reader_of_a_source_goes_on_where_another_version_stopped_if_it_may() -> None:
    _, positions = positions_of(BIG.format(least=1))
    app = App(BIG.format(least=2), "app")
    topology = app.topology(Mode.PARTITIONED, {"events": 2}, 2)
    spec = topology.tasks[0]
    strict = TaskFactory(app.stages(Mode.PARTITIONED), topology, TaskSettings(30.0, continue_when_lost=False))
    with pytest.raises(TaskStopped, match="another version"):
        strict.open(spec, MemoryStore(), positions)
    settings = TaskSettings(30.0, continue_when_lost=False, continue_changed=True)
    task = TaskFactory(app.stages(Mode.PARTITIONED), topology, settings).open(spec, MemoryStore(), positions)
    assert task.next_offsets == {TopicPartition("events", 0): 1}


def test_state_of_another_version_is_refused_whatever_is_allowed() -> None:
    made = factory(Mode.SINGLE)
    store = MemoryStore()
    task = open_task(store, made)
    feed(task, FIRST, 100)
    cut = task.cut()
    assert cut is not None
    store.apply(cut.changelog, 1)
    app = App(SQL.replace("COUNT(*)", "MAX(at)"), "app")
    topology = app.topology(Mode.SINGLE, {"events": 2}, 2)
    settings = TaskSettings(30.0, continue_when_lost=False, continue_changed=True)
    with pytest.raises(TaskStopped, match="another version"):
        TaskFactory(app.stages(Mode.SINGLE), topology, settings).open(topology.tasks[0], store, {})

"""The one rule: a result is a function of the contents of the source partitions alone.

Not of the mode, the parallelism, how partitions interleave, where batches are cut, when each worker commits, or how
often one is stopped and opened again from its committed bytes.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.generators import (
    APPS,
    SINK,
    TOPIC,
    AppCase,
    GroupedQuery,
    Layout,
    Schedule,
    Sink,
    Source,
    Step,
    Term,
    Window,
    expiring_apps,
    grouped_apps,
    layouts,
    rows_in_order,
    schedules,
)
from tests.property.replay import Emitted, Guarantee, Replay
from tests.property.results import Run, assert_same_sinks, bad_records, bad_results, final_contents, same_row

from headrace.agents.checkpoint import CHECKPOINT_KEY
from headrace.app.application import App
from headrace.app.inputs import SourceRecord
from headrace.app.local import LocalCluster
from headrace.sql.physical import Mode
from headrace.sql.runtime import windowed
from headrace.sql.runtime.records import TopicPartition
from headrace.sql.runtime.windowed import REREAD_MAX

NATURAL = Schedule((), again_at_end=False)
PARALLELISM = (1, 2, 4, 8)
EXAMPLES = settings().max_examples


@lru_cache(maxsize=50)
def compiled(sql: str) -> App:
    return App(sql)


def replayed(
    case: AppCase,
    mode: Mode,
    layout: Layout,
    parallelism: int,
    schedule: Schedule,
    guarantee: Guarantee = Guarantee.EXACTLY_ONCE,
    cache_bytes: int | None = None,
    reread_max: int = REREAD_MAX,
) -> Replay:
    replay = Replay(compiled(case.sql), mode, layout, parallelism, guarantee, cache_bytes)
    with patch.object(windowed, "REREAD_MAX", reread_max):
        replay.run(schedule)
    return replay


@st.composite
def runs(draw: st.DrawFn, apps: st.SearchStrategy[AppCase]) -> tuple[AppCase, Layout]:
    case = draw(apps)
    return case, draw(layouts(keyed=case.source.keyed))


def assert_same(case: AppCase, reference: Run, other: Run, *, repeats: bool = False) -> None:
    assert_same_sinks(case, reference, other, repeats=repeats)
    if repeats:
        assert set(bad_records(reference)) == set(bad_records(other))
        return
    assert bad_records(reference) == bad_records(other)
    if all(sink.kind != "table" for sink in case.sinks):  # a table's changes differ, and so do those that fail
        assert bad_results(reference) == bad_results(other)


@settings(max_examples=EXAMPLES * 3 // 2)
@given(runs(APPS), st.sampled_from(PARALLELISM), schedules(restarts=False), schedules(restarts=False))
def test_result_is_the_same_in_every_mode_however_batches_are_cut(
    run: tuple[AppCase, Layout], parallelism: int, one: Schedule, other: Schedule
) -> None:
    case, layout = run
    reference = replayed(case, Mode.SINGLE, layout, 1, NATURAL)
    single = replayed(case, Mode.SINGLE, layout, 1, one)
    partitioned = replayed(case, Mode.PARTITIONED, layout, parallelism, other)
    for found in (single, partitioned):
        assert_same(case, reference, found)
        assert found.late == reference.late


@settings(max_examples=EXAMPLES * 3)
@given(runs(APPS), st.sampled_from(PARALLELISM), schedules(restarts=True), schedules(restarts=True), st.integers(0, 30))
def test_result_is_the_same_however_often_workers_restart_and_whatever_they_then_read_again(
    run: tuple[AppCase, Layout], parallelism: int, one: Schedule, other: Schedule, reread_max: int
) -> None:
    case, layout = run
    reference = replayed(case, Mode.SINGLE, layout, 1, NATURAL)
    for mode, schedule in ((Mode.SINGLE, one), (Mode.PARTITIONED, other)):
        found = replayed(case, mode, layout, parallelism, schedule, reread_max=reread_max)
        assert_same(case, reference, found)
        assert found.late == reference.late


_DELIVERY = st.sampled_from([Step("read", which, count) for which in range(6) for count in (1, 2, 5)])
_STEPS = st.one_of(_DELIVERY, _DELIVERY, st.just(Step("deliver")), st.just(Step("commit")), st.just(Step("restart")))


@settings(max_examples=EXAMPLES * 4)
@given(
    st.data(),
    st.sampled_from(
        [
            Window("TUMBLING", 1_000, 0, 100, 0),
            Window("HOPPING", 1_000, 400, 0, 0),
            Window("CUMULATE", 2_000, 500, 0, 500),
        ]
    ),
    st.lists(_STEPS, min_size=15, max_size=40),
    st.integers(0, 12),
)
def test_windows_that_are_open_at_a_restart_are_made_anew_or_were_written(
    data: st.DataObject, window: Window, steps: list[Step], reread_max: int
) -> None:
    query = GroupedQuery((Term("s", ("s",)),), (Term("COUNT(*)"),), None, None, window, True, "every")
    source = Source(500, keyed=False)
    case = AppCase(source, query.sql(), (Sink(SINK, "final", query.doubles),), query)
    layout = data.draw(layouts(keyed=False))
    reference = replayed(case, Mode.SINGLE, layout, 1, NATURAL)
    found = replayed(case, Mode.PARTITIONED, layout, 2, Schedule(tuple(steps), False), reread_max=reread_max)
    assert_same(case, reference, found)


@settings(max_examples=EXAMPLES * 2)
@given(
    runs(APPS),
    st.sampled_from(list(Mode)),
    st.sampled_from(PARALLELISM),
    schedules(restarts=True),
    st.integers(0, 999),
    st.integers(0, 30),
)
def test_result_and_state_are_the_same_however_little_of_the_state_is_cached(
    run: tuple[AppCase, Layout], mode: Mode, parallelism: int, schedule: Schedule, cache_bytes: int, reread_max: int
) -> None:
    case, layout = run
    reference = replayed(case, mode, layout, parallelism, schedule, reread_max=reread_max)
    found = replayed(case, mode, layout, parallelism, schedule, cache_bytes=cache_bytes, reread_max=reread_max)
    assert found.emitted == reference.emitted
    assert found.stored == reference.stored


@settings(max_examples=EXAMPLES)
@given(
    runs(grouped_apps().filter(lambda case: case.query is not None and case.query.window is not None)),
    st.sampled_from(list(Mode)),
    st.sampled_from(PARALLELISM),
    schedules(restarts=True),
    st.none() | st.integers(0, 999),
    st.integers(0, 30),
)
def test_nothing_of_closed_windows_is_left(
    run: tuple[AppCase, Layout],
    mode: Mode,
    parallelism: int,
    schedule: Schedule,
    cache_bytes: int | None,
    reread_max: int,
) -> None:
    case, layout = run
    found = replayed(case, mode, layout, parallelism, schedule, cache_bytes=cache_bytes, reread_max=reread_max)
    assert {key for stored in found.stored.values() for key in stored} <= {CHECKPOINT_KEY}


@st.composite
def expiring_runs(draw: st.DrawFn) -> tuple[AppCase, Layout]:
    """All rows of a group in one partition: how partitions interleave must not show where it pauses."""
    case = draw(expiring_apps())
    return case, draw(layouts(keyed=case.source.keyed, together=True))


@settings(max_examples=EXAMPLES * 3)
@given(
    expiring_runs(),
    st.sampled_from(PARALLELISM),
    schedules(restarts=True),
    schedules(restarts=True),
    st.none() | st.integers(0, 999),
)
def test_table_with_a_ttl_is_the_same_but_for_ended_groups_that_a_finite_run_leaves(
    run: tuple[AppCase, Layout], parallelism: int, one: Schedule, other: Schedule, cache_bytes: int | None
) -> None:
    case, layout = run
    (sink,) = case.sinks
    assert case.query is not None
    assert case.query.ttl_ms is not None
    times = (case.source.time_of(record) for records in layout for record in records)
    newest = max((time for time in times if time is not None), default=0)
    reference = replayed(case, Mode.SINGLE, layout, 1, NATURAL)
    expected = final_contents(reference.emitted, sink)
    for mode, schedule in ((Mode.SINGLE, one), (Mode.PARTITIONED, other)):
        replay = replayed(case, mode, layout, parallelism, schedule, cache_bytes=cache_bytes)
        found = final_contents(replay.emitted, sink)
        assert bad_records(replay) == bad_records(reference)
        for key in expected.keys() | found.keys():
            if key in expected and key in found:
                assert same_row(expected[key][0], found[key][0]), (key, expected[key], found[key])
                assert expected[key][1] == found[key][1]
            else:
                _, last = expected.get(key) or found[key]
                assert last == 0 or last + 2 * case.query.ttl_ms < newest, "only an ended group may be gone"


@given(runs(grouped_apps()), schedules(restarts=True))
def test_at_least_once_without_a_repartition_only_repeats_what_was_given_out(
    run: tuple[AppCase, Layout], schedule: Schedule
) -> None:
    case, layout = run
    reference = replayed(case, Mode.SINGLE, layout, 1, NATURAL)
    found = replayed(case, Mode.SINGLE, layout, 1, schedule, Guarantee.AT_LEAST_ONCE)
    assert_same(case, reference, found, repeats=True)


def _takes_repeats(case: AppCase) -> bool:
    """Whether a row that comes twice changes nothing."""
    assert case.query is not None
    terms = [*case.query.aggregates, *((case.query.having,) if case.query.having else ())]
    counts = (
        *("COUNT(*)", "COUNT(s)", "COUNT(n", "COUNT_IF", "SUM", "AVG", "VAR", "STDDEV", "MEDIAN", "PERCENTILE", "XOR"),
        *("COLLECT_LIST", "ARRAY_AGG", "LISTAGG", "STRING_AGG", "HISTOGRAM", "TOPK(", "BY_OFFSET"),
    )
    return not any(count in term.sql for term in terms for count in counts)


@given(runs(grouped_apps().filter(_takes_repeats)), st.sampled_from(PARALLELISM), schedules(restarts=True))
def test_at_least_once_across_a_repartition_loses_nothing(
    run: tuple[AppCase, Layout], parallelism: int, schedule: Schedule
) -> None:
    case, layout = run
    reference = replayed(case, Mode.SINGLE, layout, 1, NATURAL)
    found = replayed(case, Mode.PARTITIONED, layout, parallelism, schedule, Guarantee.AT_LEAST_ONCE)
    assert_same(case, reference, found, repeats=True)


class LocalReplay:
    """The same schedule on `LocalCluster`, as `App.local` runs it; outputs are seen at once."""

    def __init__(self, case: AppCase, mode: Mode, layout: Layout, parallelism: int) -> None:
        self._cluster = LocalCluster(compiled(case.sql), mode, len(layout), parallelism)
        for partition, _, record in rows_in_order(layout):
            self._cluster.append(
                SourceRecord(TOPIC, record.key, record.value, record.timestamp, partition, (), "a record")
            )
        self._sources = [TopicPartition(TOPIC, number) for number in range(len(layout))]

    def run(self, schedule: Schedule) -> None:
        for step in schedule.steps:
            if step.action == "commit":
                self._cluster.commit()
            elif step.action == "restart":
                self._cluster.open()
            else:
                assert step.which is not None
                self._cluster.process(self._sources[step.which % len(self._sources)], step.count)
        self._cluster.finish()

    @property
    def emitted(self) -> list[Emitted]:
        return [Emitted(topic, key, *rest) for topic, _, key, *rest in self._cluster.outputs]


@given(runs(APPS), st.sampled_from(list(Mode)), st.sampled_from(PARALLELISM), st.data())
def test_local_run_gives_the_same(
    run: tuple[AppCase, Layout], mode: Mode, parallelism: int, data: st.DataObject
) -> None:
    case, layout = run
    repeats = mode is Mode.SINGLE  # across a repartition, a restart repeats rows
    schedule = data.draw(schedules(restarts=repeats))
    reference = replayed(case, Mode.SINGLE, layout, 1, NATURAL)
    found = LocalReplay(case, mode, layout, parallelism)
    found.run(schedule)
    assert_same(case, reference, found, repeats=repeats)


@given(runs(APPS), st.sampled_from(PARALLELISM), schedules(restarts=False))
def test_watermark_of_a_task_never_goes_back(run: tuple[AppCase, Layout], parallelism: int, schedule: Schedule) -> None:
    case, layout = run
    replay = replayed(case, Mode.PARTITIONED, layout, parallelism, schedule)
    for history in replay.watermarks.values():
        assert all(before <= after for before, after in pairwise(history))

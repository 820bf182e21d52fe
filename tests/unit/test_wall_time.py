"""What goes by the wall clock, with a clock that the test sets: processing time, EMIT EVERY."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from headrace.agents.tables import MemoryStore
from headrace.agents.task import Task, TaskSettings
from headrace.agents.task_factory import TaskFactory
from headrace.app.application import App
from headrace.sql.physical import Mode
from headrace.sql.runtime.records import MemoryBatch, TopicPartition

EVENTS = TopicPartition("events", 0)


@dataclass
class Bench:
    """One task over a store, and the clock that it sees."""

    sql: str
    now_s: float = 1_000.0

    def __post_init__(self) -> None:
        app = App(self.sql, "app")
        topology = app.topology(Mode.SINGLE, {"events": 1})
        settings = TaskSettings(30.0, continue_when_lost=False, exactly_once=True, wall_clock=lambda: self.now_s)
        self._factory = TaskFactory(app.stages(Mode.SINGLE), topology, settings)
        self._store = MemoryStore()
        self.task: Task
        self.open()

    def open(self) -> None:
        """Open the task from what was committed."""
        self.task = self._factory.open(self._factory.topology.tasks[0], self._store, {})

    def feed(self, *keys: str, at: int = 0) -> None:
        start, count = self.task.next_offsets.get(EVENTS, 0), len(keys)
        values: list[bytes | None] = [b'{"k":"%b","at":%d}' % (key.encode(), at) for key in keys]
        nothing: list[bytes | None] = [None] * count
        offsets = list(range(start, start + count))
        batch = MemoryBatch(*EVENTS, start, start + count, values, nothing, [1] * count, offsets, [()] * count)
        self.task.process(batch)

    def tick(self, now_s: float) -> list[tuple[str, int]]:
        """Wall time goes on; (group, count) of each row that goes out, and a commit."""
        self.now_s = now_s
        self.task.tick(now_s, [])
        outputs = self.task.take_outputs()
        cut = self.task.cut()
        if cut is not None:
            outputs += cut.outputs
            self._store.apply(cut.changelog, (self._store.position or 0) + len(cut.changelog))
        rows = [json.loads(value or b"") for output in outputs for value in output.values]
        return [(row["k"], row["n"]) for row in rows]


PROCESSING = """\
CREATE STREAM events (k VARCHAR, pt AS PROCTIME());
CREATE TABLE counts AS SELECT k, COUNT(*) AS n, MIN(pt) AS first FROM events
GROUP BY k, TUMBLE(pt, INTERVAL '10' SECOND);
"""


def test_window_over_processing_time_closes_by_the_wall_clock_while_nothing_comes() -> None:
    bench = Bench(PROCESSING)
    bench.feed("a", "a", "b")
    assert bench.tick(1_005) == []
    bench.feed("a")
    assert bench.tick(1_009) == []
    assert bench.tick(1_010) == [("a", 3), ("b", 1)]


def test_processing_time_does_not_go_back_when_the_clock_does() -> None:
    bench = Bench(PROCESSING)
    bench.feed("a")
    assert bench.tick(1_010) == [("a", 1)]
    bench.now_s = 1_003
    bench.feed("a")
    assert bench.task.counters["counts"].late == 0
    assert bench.tick(1_020) == [("a", 1)]


def test_window_over_processing_time_closes_after_a_restart() -> None:
    bench = Bench(PROCESSING)
    bench.feed("a")
    assert bench.tick(1_002) == []
    bench.open()
    assert bench.tick(1_100) == [("a", 1)]


def test_nothing_is_committed_while_processing_time_stands_still() -> None:
    bench = Bench(PROCESSING)
    bench.feed("a")
    bench.tick(1_001)
    bench.task.tick(1_001, [])
    assert bench.task.cut() is None


def test_rows_in_the_order_of_processing_time_come_when_the_clock_has_passed_them() -> None:
    bench = Bench("""
        CREATE STREAM events (k VARCHAR, pt AS PROCTIME());
        CREATE STREAM numbered AS SELECT k, ROW_NUMBER() OVER (PARTITION BY k ORDER BY pt) AS n FROM events;
        """)
    bench.feed("a", "a", "b")
    assert bench.tick(1_000.5) == []
    assert bench.tick(1_001.5) == [("a", 1), ("a", 2), ("b", 1)]
    bench.feed("b")
    assert bench.tick(1_001.9) == []
    bench.open()
    assert bench.tick(1_003) == [("b", 2)]


EVERY = """\
CREATE STREAM events (k VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1' HOUR);
CREATE TABLE counts AS SELECT k, COUNT(*) AS n FROM events GROUP BY k{window} EMIT EVERY 10 SECONDS;
"""
WINDOWS = ("", " WINDOW TUMBLING (SIZE 1 MINUTE)", " WINDOW HOPPING (1m, 1m)", " WINDOW SESSION (1m)")


@pytest.mark.parametrize("window", WINDOWS)
def test_rows_are_held_back_until_their_time(window: str) -> None:
    bench = Bench(EVERY.format(window=window))
    bench.feed("a", "b", "a")
    assert bench.tick(1_004) == []
    bench.feed("a")
    assert bench.tick(1_009.9) == []
    assert bench.tick(1_010) == [("a", 3), ("b", 1)]
    assert bench.tick(1_030) == [], "nothing has changed since"
    bench.feed("b")
    assert bench.tick(1_039.9) == []
    assert bench.tick(1_040) == [("b", 2)]


@pytest.mark.parametrize("window", WINDOWS)
def test_restart_loses_no_row_that_is_held_back(window: str) -> None:
    bench = Bench(EVERY.format(window=window))
    bench.feed("a", "b")
    assert bench.tick(1_004) == []
    bench.open()
    assert bench.tick(1_010) == [("a", 1), ("b", 1)]
    bench.open()
    assert bench.tick(1_050) == []


@pytest.mark.parametrize("window", WINDOWS[1:])
def test_closing_window_gives_what_was_held_back_and_only_that(window: str) -> None:
    bench = Bench(EVERY.format(window=window))
    bench.feed("a", "b")
    assert bench.tick(1_010) == [("a", 1), ("b", 1)]
    bench.feed("b")
    assert bench.tick(1_011) == []
    bench.feed("c", at=3_600_000 + 120_000)
    assert bench.tick(1_012) == [("b", 2)]
    assert bench.tick(1_020) == [("c", 1)]


@pytest.mark.parametrize("window", WINDOWS)
def test_end_of_a_finite_run_gives_what_was_held_back(window: str) -> None:
    bench = Bench(EVERY.format(window=window))
    bench.feed("a")
    bench.task.end_input(EVENTS)
    assert bench.tick(1_001) == [("a", 1)]

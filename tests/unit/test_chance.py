"""Functions of time and chance, with a clock and a chance that the test sets."""

from __future__ import annotations

import json
from itertools import count

from headrace.agents.tables import MemoryStore
from headrace.agents.task import TaskSettings
from headrace.agents.task_factory import TaskFactory
from headrace.app.application import App
from headrace.sql.physical import Mode
from headrace.sql.runtime.chance import Chance
from headrace.sql.runtime.records import MemoryBatch

EVENTS = "CREATE STREAM events (k VARCHAR) WITH (topic = 'events');\n"


def rows_of(query: str) -> list[dict[str, object]]:
    """What a query makes of two records; the clock stands, chance gives 0, 0.25, … and u0, u1, …"""
    numbers, names = count(), count()
    chance = Chance(lambda: next(numbers) / 4, lambda: f"u{next(names)}")
    app = App(EVENTS + query, "app")
    topology = app.topology(Mode.SINGLE, {"events": 1})
    settings = TaskSettings(30.0, continue_when_lost=False, wall_clock=lambda: 1_000.0, chance=chance)
    task = TaskFactory(app.stages(Mode.SINGLE), topology, settings).open(topology.tasks[0], MemoryStore(), {})
    values: list[bytes | None] = [b'{"k":"a"}', b'{"k":"b"}']
    task.process(MemoryBatch("events", 0, 0, 2, values, [None, None], [1, 1], [0, 1], [(), ()]))
    return [json.loads(value or b"") for output in task.take_outputs() for value in output.values]


def test_random_is_asked_once_for_each_row() -> None:
    rows = rows_of("SELECT r + 1 AS more, r FROM (SELECT RANDOM() AS r FROM events) WHERE r >= 0;")
    assert rows == [{"more": 1.0, "r": 0.0}, {"more": 1.25, "r": 0.25}]


def test_now_is_the_time_of_the_batch_under_each_of_its_names() -> None:
    present = "NOW() AS a, CURRENT_TIMESTAMP AS b, PROCTIME() AS c, LOCALTIMESTAMP AS d, UNIX_TIMESTAMP() AS e"
    rows = rows_of(f"SELECT {present}, CURRENT_DATE AS f, CURRENT_TIME AS g FROM events;")
    assert rows == [{**dict.fromkeys("abcde", 1_000_000), "f": "1970-01-01", "g": "00:16:40"}] * 2


def test_uuid_is_asked_once_for_each_row() -> None:
    assert rows_of("SELECT UPPER(u) AS b, u FROM (SELECT UUID() AS u FROM events);") == [
        {"b": "U0", "u": "u0"},
        {"b": "U1", "u": "u1"},
    ]

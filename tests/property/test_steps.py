"""What has come out after each row, in both modes: the steps that results over a whole input do not show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from tests.property.generators import TOPIC, EventRecord
from tests.property.replay import Replay

from headrace.app.application import App
from headrace.sql.physical import Mode
from headrace.sql.runtime.records import TopicPartition

SQL = f"""
CREATE STREAM {TOPIC} (k VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '10' SECOND);
CREATE TABLE counts AS SELECT k, window_start, window_end, COUNT(*) AS n FROM {TOPIC}
GROUP BY k WINDOW {{window}} EMIT {{emit}};
"""
SOURCE = TopicPartition(TOPIC, 0)


class Steps:
    """One source partition, read and committed row by row."""

    def __init__(self, mode: Mode, window: str, emit: str, seconds: Sequence[int]) -> None:
        values = [json.dumps({"k": "a", "at": second * 1_000}).encode() for second in seconds]
        layout = (tuple(EventRecord(None, value, 1, None) for value in values),)
        self._replay = Replay(App(SQL.format(window=window, emit=emit)), mode, layout, 2)
        self._seen = 0

    def read(self, rows: int = 1) -> list[tuple[int, int, int]]:
        self._replay.read(SOURCE, rows)
        return self.commit()

    def commit(self, times: int = 1) -> list[tuple[int, int, int]]:
        """Start, end (s) and count of each window that comes out meanwhile; what is taken back is left out."""
        for _ in range(times + 2):  # rows cross a repartition topic, and come out with the next commit
            self._replay.deliver()
        new, self._seen = self._replay.emitted[self._seen :], len(self._replay.emitted)
        rows: list[dict[str, Any]] = [json.loads(record.value) for record in new if record.value]
        return [(row["window_start"] // 1_000, row["window_end"] // 1_000, row["n"]) for row in rows]


@pytest.mark.parametrize("mode", Mode)
def test_session_that_has_not_ended_stays_open_when_one_before_it_closes(mode: Mode) -> None:
    # rows        0    5                 8
    # sessions    |---|
    #                  |-----------|              reaches to 12 with the row at 8
    # watermark                 after 15: 5, after 40: 30
    steps = Steps(mode, "SESSION (4 SECONDS)", "FINAL", (0, 5, 15, 8, 40))
    assert [steps.read() for _ in range(5)] == [[], [], [(0, 4, 1)], [], [(5, 12, 2), (15, 19, 1)]]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    "window", ["TUMBLING (10 SECONDS)", "SESSION (4 SECONDS)", "CUMULATE (10 SECONDS, 10 SECONDS)"]
)
def test_rows_of_open_windows_come_each_interval(mode: Mode, window: str) -> None:
    steps = Steps(mode, window, "EVERY INTERVAL '1' SECOND", (1, 2, 3))
    found = steps.read(2) + steps.commit(20)
    assert [count for _, _, count in found] == [2]
    assert steps.commit(20) == [], "nothing has changed since"
    found = steps.read() + steps.commit(20)
    assert [count for _, _, count in found] == [3]

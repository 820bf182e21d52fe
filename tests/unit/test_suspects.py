"""How a batch that broke its task is tried again."""

from __future__ import annotations

from headrace.agents.errors import BatchFailed, TaskStopped
from headrace.agents.suspects import Suspects
from headrace.sql.runtime.records import MemoryBatch, RecordBatch

ERROR = ZeroDivisionError("division by zero")


def batch(begin: int, *offsets: int, end: int) -> MemoryBatch:
    count = len(offsets)
    values: list[bytes | None] = [b"%d" % offset for offset in offsets]
    return MemoryBatch("t", 0, begin, end, values, [None] * count, [0] * count, list(offsets), [()] * count)


def spans(parts: list[RecordBatch]) -> list[tuple[int, int]]:
    return [(part.fetch_offset, part.next_offset) for part in parts]


def test_batch_without_a_suspicion_is_processed_whole() -> None:
    whole = batch(0, 0, 1, 2, end=3)
    assert list(Suspects().parts(whole)) == [whole]


def test_suspected_batch_comes_record_by_record_and_answers_for_the_same_offsets() -> None:
    suspects = Suspects()
    holes = batch(3, 5, 6, 9, end=12)
    suspects.blame(holes, ERROR)
    parts = list(suspects.parts(holes))
    assert spans(parts) == [(3, 6), (6, 7), (7, 10), (10, 12)]
    assert [value for part in parts for value in part.values] == [b"5", b"6", b"9"]


def test_third_failure_on_the_same_record_stops_the_task_and_names_it() -> None:
    suspects = Suspects()
    first = suspects.blame(batch(0, 0, 1, 2, end=3), ERROR)
    second = suspects.blame(batch(1, 1, end=2), ERROR)
    third = suspects.blame(batch(1, 1, end=2), ERROR)
    assert (type(first), type(second), type(third)) == (BatchFailed, BatchFailed, TaskStopped)
    assert str(first) == "t partition 0 offsets 0 to 2: ZeroDivisionError: division by zero"
    assert str(third) == "3 attempts to process t partition 0 offset 1: ZeroDivisionError: division by zero"


def test_records_read_with_others_next_time_stay_suspected() -> None:
    suspects = Suspects()
    suspects.blame(batch(5, 5, 6, end=7), ERROR)
    assert spans(list(suspects.parts(batch(0, 0, 4, 5, 6, 7, end=8)))) == [(0, 1), (1, 5), (5, 6), (6, 7), (7, 8)]
    before = batch(0, 0, 4, end=5)
    assert list(suspects.parts(before)) == [before]


def test_suspicion_ends_when_reading_has_come_past_it() -> None:
    suspects = Suspects()
    for _ in range(2):
        suspects.blame(batch(5, 5, 6, end=7), ERROR)
    after = batch(7, 7, 8, end=9)
    assert list(suspects.parts(after)) == [after]
    assert isinstance(suspects.blame(batch(9, 9, end=10), ERROR), BatchFailed)


def test_other_partitions_are_not_suspected() -> None:
    suspects = Suspects()
    suspects.blame(batch(0, 0, 1, end=2), ERROR)
    other = MemoryBatch("t", 1, 0, 2, [b"", b""], [None] * 2, [0] * 2, [0, 1], [()] * 2)
    assert list(suspects.parts(other)) == [other]

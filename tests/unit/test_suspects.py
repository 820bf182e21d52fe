"""How a batch that broke its task is tried again."""

from __future__ import annotations

from headrace.agents.suspects import Suspects
from headrace.sql.runtime.records import MemoryBatch, RecordBatch


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
    assert suspects.failed(holes) == 1
    parts = list(suspects.parts(holes))
    assert spans(parts) == [(3, 6), (6, 7), (7, 10), (10, 12)]
    assert [value for part in parts for value in part.values] == [b"5", b"6", b"9"]


def test_third_failure_on_the_same_record_is_the_third() -> None:
    suspects = Suspects()
    assert suspects.failed(batch(0, 0, 1, 2, end=3)) == 1
    assert suspects.failed(batch(1, 1, end=2)) == 2
    assert suspects.failed(batch(1, 1, end=2)) == 3


def test_records_read_with_others_next_time_stay_suspected() -> None:
    suspects = Suspects()
    suspects.failed(batch(5, 5, 6, end=7))
    assert spans(list(suspects.parts(batch(0, 0, 4, 5, 6, 7, end=8)))) == [(0, 1), (1, 5), (5, 6), (6, 7), (7, 8)]
    before = batch(0, 0, 4, end=5)
    assert list(suspects.parts(before)) == [before]


def test_suspicion_ends_when_reading_has_come_past_it() -> None:
    suspects = Suspects()
    suspects.failed(batch(5, 5, 6, end=7))
    after = batch(7, 7, 8, end=9)
    assert list(suspects.parts(after)) == [after]
    assert suspects.failed(batch(9, 9, end=10)) == 1


def test_other_partitions_are_not_suspected() -> None:
    suspects = Suspects()
    suspects.failed(batch(0, 0, 1, end=2))
    other = MemoryBatch("t", 1, 0, 2, [b"", b""], [None] * 2, [0] * 2, [0, 1], [()] * 2)
    assert list(suspects.parts(other)) == [other]

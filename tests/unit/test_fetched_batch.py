"""Record batches out of fetched bytes: which offsets they answer for, and what they decode."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from aiokafka.record.memory_records import MemoryRecords
from tests.unit.batches import stored

from headrace.agents.records import PART_RECORDS, FetchedBatch, ParsedBatch


def whole(found: FetchedBatch) -> ParsedBatch:
    (part,) = found.parts()
    return part


def offsets(found: FetchedBatch) -> list[int]:
    return [offset for offset, _, _ in found.entries()]


def batch(fetch_offset: int, next_offset: int, records: MemoryRecords, skipped: Sequence[int] = ()) -> FetchedBatch:
    return FetchedBatch("topic", 0, fetch_offset, next_offset, records, frozenset(skipped))


def test_columns_are_parallel_and_in_offset_order() -> None:
    found = whole(batch(10, 15, stored((10, 3), (13, 2))))
    assert list(found.offsets) == [10, 11, 12, 13, 14]
    assert list(found.values) == [b"v10", b"v11", b"v12", b"v13", b"v14"]
    assert list(found.keys) == [b"k10", b"k11", b"k12", b"k13", b"k14"]
    assert list(found.timestamps) == [1010, 1011, 1012, 1013, 1014]
    assert [list(headers) for headers in found.headers] == [[("h", b"%d" % offset)] for offset in range(10, 15)]


def test_fetch_in_the_middle_of_a_stored_batch_leaves_out_what_lies_before() -> None:
    found = batch(12, 15, stored((10, 5)))
    assert list(whole(found).values) == [b"v12", b"v13", b"v14"]
    assert found.entries() == [(n, b"k%d" % n, b"v%d" % n) for n in (12, 13, 14)]


def test_batch_cut_at_an_end_offset_has_nothing_past_it() -> None:
    found = batch(10, 15, stored((10, 3), (13, 2)))
    cut = found.ending_at(14)
    assert (cut.next_offset, offsets(cut)) == (14, [10, 11, 12, 13])
    assert found.ending_at(15) is found
    assert offsets(found) == [10, 11, 12, 13, 14]


def test_skipped_batches_are_not_seen() -> None:
    assert offsets(batch(10, 15, stored((10, 2), (12, 1), (13, 2)), skipped=[12])) == [10, 11, 13, 14]


def test_parts_answer_for_all_offsets_one_after_the_other() -> None:
    spans = [
        (part.fetch_offset, part.next_offset) for part in batch(10, 3_020, stored((10, 900), (920, 2_100))).parts()
    ]
    assert spans == [(10, 1_020), (1_020, 2_020), (2_020, 3_020)]  # the first reaches over the hole from 910 to 920


def test_parts_hold_all_records_once() -> None:
    found = batch(15, 3_020, stored((10, 900), (910, 10), (920, 2_100)), skipped=[910])
    assert [offset for part in found.parts() for offset in part.offsets] == [*range(15, 910), *range(920, 3_020)]
    assert [offset for part in found.parts() for offset in part.offsets] == offsets(found)  # may be parsed again


def test_full_part_that_reaches_the_end_is_the_last() -> None:
    (part,) = batch(0, PART_RECORDS, stored((0, PART_RECORDS))).parts()
    assert (part.next_offset, len(part.values)) == (PART_RECORDS, PART_RECORDS)


def test_batch_without_a_record_still_answers_for_its_offsets() -> None:
    (empty,) = batch(10, 12, stored((10, 1), (11, 1)), skipped=[10, 11]).parts()
    assert (empty.fetch_offset, empty.next_offset, list(empty.values)) == (10, 12, [])


def test_copy_of_fetched_bytes_parses_from_its_own_place() -> None:
    records = stored((0, 2), (2, 2))
    records.next_batch()
    twin = copy.copy(records)
    records.next_batch()
    assert not records.has_next()
    assert [record.offset for record in twin.next_batch()] == [2, 3]

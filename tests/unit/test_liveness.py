"""When a partition counts as stalled, and with which reason."""

from __future__ import annotations

from headrace.agents.liveness import Liveness, Stand
from headrace.sql.runtime.records import TopicPartition

PARTITION = TopicPartition("t", 0)


def stand(position: int, end: int | None, stable: int | None = None) -> Stand:
    return Stand(PARTITION, position, end, end if stable is None else stable)


def stalled_after(*stands: Stand, waiting_for_commit: bool = False) -> list[list[str]]:
    """Reasons of the stalls that stand after each look; one look each 30 seconds."""
    liveness = Liveness(stalled_s=60.0)
    found = []
    for number, each in enumerate(stands):
        liveness.observe(30.0 * number, [each], waiting_for_commit=waiting_for_commit)
        found.append([stall.reason for stall in liveness.stalls.values()])
    return found


def test_position_that_stands_for_a_minute_with_lag_is_a_stall() -> None:
    assert stalled_after(stand(5, 9), stand(5, 9), stand(5, 12)) == [[], [], ["the broker sends no records"]]


def test_position_that_moves_is_none_however_far_behind() -> None:
    assert stalled_after(*(stand(number, 1_000) for number in range(9)))[-1] == []


def test_partition_read_to_its_end_is_none_and_time_counts_from_when_lag_begins() -> None:
    assert stalled_after(stand(5, 5), stand(5, 5), stand(5, 5), stand(5, 6))[-1] == []
    assert stalled_after(stand(5, 5), stand(5, 5), stand(5, 6), stand(5, 6), stand(5, 6))[-1] != []


def test_partition_that_is_never_fetched_is_a_stall() -> None:
    assert stalled_after(*[stand(5, None)] * 3) == [[], [], ["no fetch was answered"]]
    assert stalled_after(stand(5, None), stand(5, 5), stand(5, 5), stand(5, 5))[-1] == []


def test_open_transaction_of_another_producer_is_named() -> None:
    [reason] = stalled_after(*[stand(5, 9, stable=5)] * 3)[-1]
    assert reason == "a transaction that another producer has open begins at offset 5"


def test_commit_that_does_not_end_is_named() -> None:
    [reason] = stalled_after(*[stand(5, 9)] * 3, waiting_for_commit=True)[-1]
    assert "the commit does not end" in reason


def test_each_stall_is_told_once_when_it_begins_and_once_when_it_is_over() -> None:
    liveness = Liveness(stalled_s=60.0)
    told = [
        liveness.observe(now, [stand(position, 9)], waiting_for_commit=False)
        for now, position in ((0.0, 5), (60.0, 5), (90.0, 5), (91.0, 6), (92.0, 7))
    ]
    assert [(len(begun), len(over)) for begun, over in told] == [(0, 0), (1, 0), (0, 0), (0, 1), (0, 0)]


def test_partition_that_went_to_another_worker_is_over() -> None:
    liveness = Liveness(stalled_s=60.0)
    liveness.observe(0.0, [stand(5, 9)], waiting_for_commit=False)
    liveness.observe(60.0, [stand(5, 9)], waiting_for_commit=False)
    _, over = liveness.observe(61.0, [], waiting_for_commit=False)
    assert [stall.stand.partition for stall in over] == [PARTITION]
    assert liveness.stalls == {}

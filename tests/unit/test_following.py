"""How a worker follows another version: what it may read, where it waits, and what it is told."""

from __future__ import annotations

from headrace.agents.following import Lead, Reached
from headrace.app.control import follow_command, read_follow
from headrace.sql.runtime.records import TopicPartition

FIRST, SECOND, OTHER = TopicPartition("in", 0), TopicPartition("in", 1), TopicPartition("other", 0)


def test_without_a_lead_everything_may_be_read() -> None:
    lead = Lead()
    assert not lead.stops(FIRST, 10**9)
    assert lead.bound(FIRST) is None
    assert lead.idle({FIRST: 0}) == []


def test_a_reader_waits_where_the_other_version_stands() -> None:
    lead = Lead({FIRST: Reached(10)})
    assert [lead.stops(FIRST, offset) for offset in (9, 10, 11)] == [False, True, True]
    # Of a topic that is followed, a partition that is not told has not been read; another topic is free.
    assert lead.stops(SECOND, 0)
    assert not lead.stops(OTHER, 0)
    assert [lead.bound(each) for each in (FIRST, SECOND, OTHER)] == [10, 0, None]


def test_a_reader_is_idle_where_the_other_version_is_and_not_before_it_is_there() -> None:
    lead = Lead({FIRST: Reached(10, is_idle=True), SECOND: Reached(10)})
    assert lead.idle({FIRST: 9, SECOND: 10}) == []
    assert lead.idle({FIRST: 10, SECOND: 10}) == [FIRST]
    assert lead.awake({FIRST: 10, SECOND: 10, OTHER: 0}) == [SECOND]


def test_what_a_worker_is_told_is_what_it_reads() -> None:
    reached = {FIRST: Reached(10, is_idle=True), SECOND: Reached(0), OTHER: Reached(7)}
    assert read_follow(follow_command(reached)) == reached
    assert read_follow(follow_command({})) == {}

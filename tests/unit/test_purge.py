"""Repartition records are deleted one interval after their reader has committed past them, and not before."""

from __future__ import annotations

from headrace.agents.purge import PurgeSchedule
from headrace.sql.runtime.records import Cut, Position, TopicPartition

EXCHANGE, SOURCE = TopicPartition("app-x-repartition", 0), TopicPartition("in", 0)


def cut(offsets: dict[TopicPartition, int], **needed: dict[TopicPartition, int]) -> Cut:
    return Cut((), (), {partition: Position(offset, "") for partition, offset in offsets.items()}, **needed)


def test_what_was_committed_is_due_an_interval_later_and_once() -> None:
    schedule = PurgeSchedule({EXCHANGE.topic}, now=0.0, interval_s=30.0)
    schedule.committed(cut({EXCHANGE: 100}))
    assert schedule.due(29.0) == {}
    assert schedule.due(30.0) == {}
    schedule.committed(cut({EXCHANGE: 200}))
    assert schedule.due(59.0) == {}
    assert schedule.due(60.0) == {EXCHANGE: 100}
    assert schedule.due(90.0) == {EXCHANGE: 200}
    assert schedule.due(120.0) == {}


def test_what_open_windows_need_after_a_restart_stays() -> None:
    schedule = PurgeSchedule({EXCHANGE.topic}, now=0.0, interval_s=1.0)
    schedule.committed(cut({EXCHANGE: 100}, needed={EXCHANGE: 60}))
    assert schedule.due(1.0) == {}
    assert schedule.due(2.0) == {EXCHANGE: 60}


def test_other_topics_are_left_alone() -> None:
    schedule = PurgeSchedule({EXCHANGE.topic}, now=0.0, interval_s=1.0)
    schedule.committed(cut({SOURCE: 100}))
    assert schedule.due(1.0) == {}
    assert schedule.due(2.0) == {}

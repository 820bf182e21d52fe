"""Which partitions are read on, and from where."""

from __future__ import annotations

import asyncio

from tests.unit.readers import Reader

from headrace.agents.following import Reached
from headrace.agents.gate import Gate
from headrace.sql.runtime.records import TopicPartition

FIRST, SECOND = TopicPartition("source", 0), TopicPartition("source", 1)
INTERNAL = TopicPartition("repartition", 0)


def new_gate() -> tuple[Gate, Reader]:
    reader = Reader()
    return Gate(lambda: reader), reader


def test_everything_is_read_where_nothing_is_followed() -> None:
    gate, reader = new_gate()
    asyncio.run(gate.place({FIRST: 3, INTERNAL: 5}))
    asyncio.run(gate.hold({FIRST: 10}))
    assert reader.at == {FIRST: 3, INTERNAL: 5}
    assert not gate.is_held(FIRST)


def test_nothing_is_read_while_paused() -> None:
    gate, reader = new_gate()
    gate.paused = True
    asyncio.run(gate.place({FIRST: 3}))
    assert reader.at == {}


def test_reader_is_left_alone_where_nothing_is_to_be_placed() -> None:
    gate, reader = new_gate()
    gate.follow({FIRST: Reached(5)})
    asyncio.run(gate.place({FIRST: 3}))
    asyncio.run(gate.adjust({FIRST: 4}))
    assert reader.placed == 1


def test_nothing_more_is_read_of_what_is_closed() -> None:
    gate, reader = new_gate()
    asyncio.run(gate.place({FIRST: 3, SECOND: 4}))
    asyncio.run(gate.close([FIRST]))
    assert reader.at == {FIRST: None, SECOND: 4}


def test_partition_waits_where_the_version_that_is_followed_stands() -> None:
    gate, reader = new_gate()
    gate.follow({FIRST: Reached(5), SECOND: Reached(2)})
    asyncio.run(gate.place({FIRST: 3, SECOND: 2, INTERNAL: 7}))
    assert reader.at == {FIRST: 3, INTERNAL: 7}
    assert (gate.is_held(FIRST), gate.is_held(SECOND), gate.is_held(INTERNAL)) == (False, True, False)

    asyncio.run(gate.hold({FIRST: 4}))
    assert reader.at[FIRST] == 3
    asyncio.run(gate.hold({FIRST: 5}))
    assert reader.at[FIRST] is None
    assert gate.is_held(FIRST)


def test_partition_goes_on_when_the_version_that_is_followed_has_and_stops_where_it_stands_still() -> None:
    gate, reader = new_gate()
    gate.follow({FIRST: Reached(5), SECOND: Reached(9)})
    asyncio.run(gate.place({FIRST: 5, SECOND: 8}))
    gate.follow({FIRST: Reached(6), SECOND: Reached(9)})
    asyncio.run(gate.adjust({FIRST: 5, SECOND: 9}))
    assert reader.at == {FIRST: 5, SECOND: None}
    assert (gate.is_held(FIRST), gate.is_held(SECOND)) == (False, True)


def test_what_may_go_on_while_paused_is_placed_by_the_resume() -> None:
    gate, reader = new_gate()
    gate.follow({FIRST: Reached(5)})
    asyncio.run(gate.place({FIRST: 5}))
    gate.paused = True
    gate.follow({FIRST: Reached(6)})
    asyncio.run(gate.adjust({FIRST: 5}))
    assert reader.at == {}
    gate.paused = False
    asyncio.run(gate.place({FIRST: 5}))
    assert reader.at == {FIRST: 5}

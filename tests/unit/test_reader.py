"""What a worker's reader asks the cluster, and how often."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.structs import PartitionMetadata
from aiokafka.structs import TopicPartition as KafkaPartition

from headrace.agents import reader
from headrace.agents.liveness import UNSEEN, SeenEnd
from headrace.agents.reader import LEADERLESS_S, GroupReader, ask_less_while_leaders_miss
from headrace.sql.runtime.records import TopicPartition


class Client:
    """An aiokafka client whose answers are these leaders, by topic and partition."""

    def __init__(self, leaders: dict[str, list[int]]) -> None:
        self.cluster = ClusterMetadata()
        self._leaders = leaders

    async def _metadata_update(self, cluster: Any, _topics: Any) -> bool:
        for topic, leaders in self._leaders.items():
            cluster._partitions[topic] = {
                number: PartitionMetadata(topic, number, leader, [], [], None) for number, leader in enumerate(leaders)
            }
        return True


@pytest.mark.parametrize(
    ("leaders", "waits"),
    [
        ({"in": [1, 2], "log": [1]}, []),
        ({"in": [1, -1], "log": [1]}, [LEADERLESS_S]),
        ({"in": [1, 2]}, [LEADERLESS_S]),
        ({}, [LEADERLESS_S]),
    ],
    ids=["all have leaders", "one has none", "a topic is gone", "nothing is known"],
)
def test_cluster_has_time_where_leaders_miss(
    leaders: dict[str, list[int]], waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(reader.asyncio, "sleep", wait)
    client = Client(leaders)
    ask_less_while_leaders_miss(client)
    assert asyncio.run(client._metadata_update(client.cluster, {"in", "log"}))
    assert waited == waits


def test_client_that_follows_no_topic_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client({})
    ask_less_while_leaders_miss(client)
    monkeypatch.delattr(reader.asyncio, "sleep")
    assert asyncio.run(client._metadata_update(client.cluster, None))


class Fetched:
    """A consumer that is assigned one partition, in the state that its last fetch has left."""

    def __init__(self, *, paused: bool = False, **state: object) -> None:
        self.assignment = Assignment([KafkaPartition("in", 0)])
        self.state = self.assignment.state_value(KafkaPartition("in", 0))
        for name, value in state.items():
            setattr(self.state, name, value)
        if paused:
            self.state._paused = True
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=self.assignment))


def end_seen(consumer: Any, partition: TopicPartition = TopicPartition("in", 0)) -> SeenEnd:  # noqa: B008 (a constant)
    return GroupReader.ends(cast(GroupReader, SimpleNamespace(_ensure_consumer=lambda: consumer)), partition)


async def seen_in(**state: Any) -> SeenEnd:
    return end_seen(Fetched(**state))


def test_end_of_a_partition_is_what_its_last_fetch_said_and_how_long_ago() -> None:
    seen = asyncio.run(seen_in(highwater=9, lso=7, timestamp=int(time.time() * 1000) - 4_000))
    assert seen[:2] == (9, 7)
    assert 3.9 < seen.age_s < 4.9


def test_all_is_stable_where_uncommitted_records_are_read() -> None:
    assert asyncio.run(seen_in(highwater=9, lso=-1, timestamp=1)).stable is None


@pytest.mark.parametrize("state", [{}, {"highwater": 9, "lso": 9, "timestamp": 1, "paused": True}])
def test_end_of_a_partition_that_is_not_fetched_is_not_known(state: dict[str, Any]) -> None:
    assert asyncio.run(seen_in(**state)) == UNSEEN


def test_end_of_a_partition_that_went_away_is_not_known() -> None:
    """The assignment may be replaced by its thread at any moment."""

    async def seen() -> tuple[SeenEnd, SeenEnd, SeenEnd]:
        gone, nothing = Fetched(), Fetched()
        gone._subscription.subscription.assignment = None  # type: ignore[assignment]
        nothing._subscription.subscription = None  # type: ignore[assignment]
        return end_seen(Fetched(), TopicPartition("in", 1)), end_seen(gone), end_seen(nothing)

    assert asyncio.run(seen()) == (UNSEEN, UNSEEN, UNSEEN)

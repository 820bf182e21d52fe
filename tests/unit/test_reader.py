"""What a worker's reader asks the cluster, and how often."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.structs import PartitionMetadata

from headrace.agents import reader
from headrace.agents.reader import LEADERLESS_S, ask_less_while_leaders_miss


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

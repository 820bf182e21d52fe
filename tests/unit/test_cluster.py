"""How threads of a worker ask a cluster together."""

from __future__ import annotations

import queue
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from headrace.agents import cluster as clusters
from headrace.agents.cluster import Cluster
from headrace.agents.config import WorkerConfig

PASSING = KafkaException(KafkaError(KafkaError._TIMED_OUT))


class Admin:
    """A client that answers of a group by a future, which the test completes."""

    def __init__(self, _options: dict[str, Any]) -> None:
        self.asked = threading.Event()
        self.answer: Future[Any] = Future()
        MADE.put(weakref.ref(self))

    def describe_consumer_groups(self, groups: list[str], **_: object) -> dict[str, Future[Any]]:
        self.asked.set()
        return {groups[0]: self.answer}


MADE: queue.Queue[weakref.ref[Admin]] = queue.Queue()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    MADE.queue.clear()
    monkeypatch.setattr(clusters, "AdminClient", Admin)
    monkeypatch.setattr(clusters.time, "sleep", lambda _seconds: None)
    return Cluster(WorkerConfig("localhost:9092", "app", Path("state")))


def held(client: weakref.ref[Admin]) -> Admin:
    admin = client()
    assert admin is not None, "nobody holds it any more, so it would give no answer"
    return admin


def test_client_that_another_thread_replaces_still_answers(cluster: Cluster) -> None:
    """A client of librdkafka that is dropped forgets what it was asked."""
    with ThreadPoolExecutor() as threads:
        first = MADE.get_nowait()
        waiting = threads.submit(cluster.has_members)
        assert held(first).asked.wait(10.0)
        answer, held(first).answer = held(first).answer, Future()
        held(first).answer.set_exception(PASSING)  # for whoever asks next
        other = threads.submit(cluster.has_members)
        held(MADE.get(timeout=10.0)).answer.set_result(SimpleNamespace(members=[]))
        assert other.result(10.0) is False
        assert held(first)
        answer.set_result(SimpleNamespace(members=["one"]))
        assert waiting.result(10.0) is True
    assert MADE.empty()

"""What an admin client is asked, and does not answer."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from headrace.agents import admin
from headrace.app import clients
from headrace.app.errors import OutsideError
from headrace.app.server import views
from headrace.app.server.views import View
from headrace.app.settings_sources import settings_as_given

SETTINGS = settings_as_given({})


class Admin:
    """An admin client of a cluster of some brokers: what it is asked has the answer given, or never one."""

    def __init__(self, answer: BaseException | None = None, brokers: int = 1) -> None:
        self._brokers = brokers
        self.created: list[Any] = []
        self._future: Future[Any] = Future()
        if answer is not None:
            self._future.set_exception(answer)

    def list_topics(self, *_: object, **__: object) -> Any:
        return SimpleNamespace(brokers=dict.fromkeys(range(self._brokers)), topics={})

    def create_topics(self, new: list[Any], **_: object) -> dict[str, Future[Any]]:
        self.created += new
        return {each.topic: self._future for each in new}

    def describe_topics(self, *_: object, **__: object) -> dict[str, Future[Any]]:
        return {"t": self._future}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "GRACE_S", 0.0)
    monkeypatch.setattr(clients, "METADATA_TIMEOUT_SECONDS", 0.0)
    monkeypatch.setattr(views, "ASK_S", 0.0)


def create(monkeypatch: pytest.MonkeyPatch, admin: Admin) -> None:
    monkeypatch.setattr(clients, "AdminClient", lambda _options: admin)
    clients.create_topic(SETTINGS, "t", 1)


def test_a_topic_whose_creation_is_not_answered_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutsideError, match="topic t: Kafka did not answer"):
        create(monkeypatch, Admin())


def test_a_topic_that_another_process_creates_meanwhile_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    create(monkeypatch, Admin(KafkaException(KafkaError(KafkaError.TOPIC_ALREADY_EXISTS))))


def test_a_topic_that_may_not_be_created_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutsideError, match=r"could not create topic t: .*TOPIC_AUTHORIZATION_FAILED"):
        create(monkeypatch, Admin(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))))


@pytest.mark.timeout(20)
def test_a_view_whose_topic_is_not_described_does_not_wait_for_ever() -> None:
    view = View(SETTINGS, Admin(), "t", Event())  # type: ignore[arg-type] # as much of a client as it uses
    with pytest.raises(OutsideError, match="topic t: Kafka did not answer"):
        view.read()


@pytest.mark.parametrize(("brokers", "replicas"), [(1, 1), (2, 2), (5, 3)])
def test_a_topic_that_is_created_has_replicas_as_those_of_apps(
    monkeypatch: pytest.MonkeyPatch, brokers: int, replicas: int
) -> None:
    admin = Admin(KafkaException(KafkaError(KafkaError.TOPIC_ALREADY_EXISTS)), brokers)
    create(monkeypatch, admin)
    (created,) = admin.created
    assert (created.topic, created.num_partitions, created.replication_factor) == ("t", 1, replicas)

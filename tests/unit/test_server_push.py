"""What a listener to a topic gets where its client reports errors among the records."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from headrace.app.errors import OutsideError
from headrace.app.server import push
from headrace.app.settings_sources import settings_as_given

GONE = KafkaError.UNKNOWN_TOPIC_OR_PART


class Told:
    """A record, or an error in the place of one."""

    def __init__(self, code: int | None = None) -> None:
        self._error = None if code is None else KafkaError(code)

    def error(self) -> KafkaError | None:
        return self._error


class Client:
    """A consumer that has these batches, then nothing; what it is told of its topic, each time it asks."""

    def __init__(self, *batches: list[Told], told: Sequence[KafkaError | KafkaException] = ()) -> None:
        self._batches = list(batches)
        self._told = list(told)
        self.is_closed = False

    def list_topics(self, topic: str, _timeout: float) -> Any:
        told = self._told.pop(0)
        if isinstance(told, KafkaException):
            raise told
        return SimpleNamespace(topics={topic: SimpleNamespace(error=told)})

    def consume(self, most: int, _timeout: float = 0) -> list[Told]:
        if most > 1:
            return self._batches.pop(0) if self._batches else []
        return [self._batches[0].pop(0)] if self._batches and self._batches[0] else []

    def close(self) -> None:
        self.is_closed = True


def heard(monkeypatch: pytest.MonkeyPatch, client: Client) -> tuple[list[int], str]:
    """Sizes of the batches, and why there were no more."""
    monkeypatch.setattr(push, "_at_the_end", lambda _settings, _topic: client)

    sizes: list[int] = []

    async def listen() -> None:
        nonlocal sizes
        async with push.listening(settings_as_given({}), "t") as batches:
            async for messages in batches:
                sizes += [len(messages)]

    with pytest.raises(OutsideError) as ended:
        asyncio.run(asyncio.wait_for(listen(), 10.0))
    assert client.is_closed
    return sizes, str(ended.value)


@pytest.mark.parametrize("code", [GONE, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_a_topic_that_is_gone_or_forbidden_ends_what_is_heard_of_it(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    passing = [Told(KafkaError._PARTITION_EOF), Told(KafkaError._TRANSPORT), Told(KafkaError._ALL_BROKERS_DOWN)]
    client = Client([Told(), *passing], [Told(), Told(code)])
    assert heard(monkeypatch, client) == ([1, 1], f"topic t: {KafkaError(code).str()}")


def test_a_topic_of_which_nothing_comes_is_looked_up_for_its_client_is_not_told_that_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(push, "LOOK_S", 0.0, raising=False)
    away = KafkaException(KafkaError(KafkaError._TRANSPORT))
    client = Client([Told()], told=[away, KafkaError(KafkaError.LEADER_NOT_AVAILABLE), KafkaError(GONE)])
    assert heard(monkeypatch, client) == ([1, 0, 0, 0], f"topic t: {KafkaError(GONE).str()}")

"""A listener of a topic that is deleted, on a real broker: its client tells of it in no way."""

from __future__ import annotations

import asyncio

import pytest
from tests.integration.sql_app import unique_name

from headrace.app import clients
from headrace.app.errors import OutsideError
from headrace.app.server import push
from headrace.app.settings_sources import load_settings

pytestmark = pytest.mark.broker


def test_a_topic_that_is_deleted_ends_what_is_heard_of_it(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "LOOK_S", 0.0)
    topic = unique_name("gone")
    settings = load_settings({"bootstrap_servers": broker}, environ={})
    clients.create_topic(settings, topic, 2)
    admin = clients.admin(settings)

    async def listen() -> None:
        async with push.listening(settings, topic) as batches:
            assert await anext(batches) == []
            admin.delete_topics([topic])[topic].result()
            async for messages in batches:
                assert messages == []

    with pytest.raises(OutsideError, match=f"topic {topic}: Broker: Unknown topic or partition"):
        asyncio.run(asyncio.wait_for(listen(), 30.0))

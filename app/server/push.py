"""Records of a topic from now on, for as long as somebody listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from headrace.app import clients
from headrace.app.consume import PROPERTIES
from headrace.app.errors import OutsideError
from headrace.app.settings import Settings

BATCH = 1_000
WAIT_S = 1.0


@asynccontextmanager
async def listening(settings: Settings, topic: str) -> AsyncIterator[AsyncIterator[list[Message]]]:
    """Batches of committed records; an empty one where nothing has come for a moment.

    OutsideError without a topic, and where it cannot be read any more.
    """
    loop = asyncio.get_running_loop()
    # A thread of its own, for a listener waits all the time; it closes the client too, after its last read.
    thread = ThreadPoolExecutor(1, thread_name_prefix="listener")
    try:
        client = await loop.run_in_executor(thread, _at_the_end, settings, topic)

        async def batches() -> AsyncIterator[list[Message]]:
            while True:
                messages = await loop.run_in_executor(thread, clients.arrived, client, BATCH, WAIT_S)
                yield [message for message in messages if message.error() is None]
                for error in filter(None, (message.error() for message in messages)):
                    if error.code() != KafkaError._PARTITION_EOF and not clients.is_passing(error):
                        raise OutsideError(f"topic {topic}: {error.str()}")

        try:
            yield batches()
        finally:
            await loop.run_in_executor(thread, client.close)
    finally:
        thread.shutdown(wait=False)


def _at_the_end(settings: Settings, topic: str) -> Consumer:
    # Looked up here: a consumer would look it up some time later, and miss what comes until then.
    admin = clients.admin(settings)
    ends = clients.end_offsets(admin, topic)
    client = clients.consumer(settings, PROPERTIES)
    client.assign([TopicPartition(topic, partition, end) for partition, end in ends.items()])
    return client

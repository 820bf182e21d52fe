"""Records of a topic from now on, for as long as somebody listens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import TopicMetadata

from headrace.app import clients
from headrace.app.consume import PROPERTIES
from headrace.app.errors import OutsideError
from headrace.app.settings import Settings

BATCH = 1_000
WAIT_S = 1.0
LOOK_S = 10.0
"""How often a topic is looked up of which nothing comes."""
LOST = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED)


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
            looked = time.monotonic()
            while True:
                messages = await loop.run_in_executor(thread, clients.arrived, client, BATCH, WAIT_S)
                yield [message for message in messages if message.error() is None]
                for error in filter(None, (message.error() for message in messages)):
                    if error.code() != KafkaError._PARTITION_EOF and not clients.is_passing(error):
                        raise OutsideError(f"topic {topic}: {error.str()}")
                if not messages and time.monotonic() - looked >= LOOK_S:
                    await loop.run_in_executor(thread, _check_there, client, topic)
                    looked = time.monotonic()

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


def _check_there(client: Consumer, topic: str) -> None:
    """OutsideError where the topic is lost. The client itself says nothing of one that was deleted."""
    try:
        found: TopicMetadata = client.list_topics(topic, clients.METADATA_TIMEOUT_SECONDS).topics[topic]
    except KafkaException:
        return  # Kafka does not answer: it may come back
    if found.error is not None and found.error.code() in LOST:
        raise OutsideError(f"topic {topic}: {found.error.str()}")

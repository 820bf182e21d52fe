"""Kafka clients of the command line, and Kafka's errors in words that help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ClusterMetadata, OffsetSpec, TopicMetadata
from confluent_kafka.admin import NewTopic as KafkaNewTopic

from headrace.agents.admin import answered
from headrace.agents.config import replicas_among
from headrace.app.errors import OutsideError
from headrace.app.settings import Settings

METADATA_TIMEOUT_SECONDS = 6.0
# A client says every failed attempt on stderr by itself; here the last reason is kept and told once.
QUIET = {"log_level": 0}


@dataclass(slots=True)
class Reason:
    """The last thing a client complained about: the error it then raises is often only "transport failure"."""

    text: str = ""
    properties: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.properties = {**QUIET, "error_cb": self._keep}

    def _keep(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self.text:
            self.text = error.str()


def cluster_metadata(settings: Settings, topic: str | None = None) -> ClusterMetadata:
    """Ask the cluster for its topics, or one of them. OutsideError says why where it does not answer."""
    reason = Reason()
    admin = _admin(settings, reason)
    try:
        return admin.list_topics(topic, timeout=METADATA_TIMEOUT_SECONDS)
    except KafkaException as error:
        admin.poll(0)  # hands over what the client complained about
        raise unreachable(settings, reason.text or explain(error)) from error


def existing_topic(settings: Settings, topic: str) -> TopicMetadata | None:
    """The topic's metadata, or None where there is no such topic."""
    found: TopicMetadata = cluster_metadata(settings, topic).topics[topic]
    if found.error is None:
        return found
    if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return None
    raise OutsideError(f"topic {topic}: {found.error.str()}")


def create_topic(settings: Settings, topic: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
    """Create a topic, with the broker's defaults beside the configuration, and wait until it is there."""
    admin = _admin(settings, Reason())
    try:
        replicas = replicas_among(len(admin.list_topics(topic, timeout=METADATA_TIMEOUT_SECONDS).brokers))
        new = KafkaNewTopic(topic, partitions, replicas, config=dict(config or {}))
        answered(admin.create_topics([new], request_timeout=METADATA_TIMEOUT_SECONDS)[topic], METADATA_TIMEOUT_SECONDS)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return  # another process was first
        raise OutsideError(f"could not create topic {topic}: {explain(error)}") from error


def producer(settings: Settings, properties: Mapping[str, Any]) -> Producer:
    return Producer({**settings.client_config, **QUIET, **properties})


def consumer(settings: Settings, properties: Mapping[str, Any]) -> Consumer:
    return Consumer({**settings.client_config, **QUIET, **properties})


def arrived(client: Consumer, most: int, wait_s: float) -> list[Message]:
    """What has arrived, at most so many. Blocks until there is something, or the time is over."""
    first = client.consume(1, wait_s)
    return [*first, *client.consume(most - 1, 0)] if first else []


def is_passing(error: KafkaError) -> bool:
    """Whether a consumer that reports it gets over it by itself."""
    return error.retriable() or error.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)


def admin(settings: Settings) -> AdminClient:
    """For whoever asks often: a new client takes its time to connect. It has to outlive what it is asked."""
    return _admin(settings, Reason())


def end_offsets(admin: AdminClient, topic: str) -> dict[int, int]:
    """Where what is committed in each partition of a topic ends. OutsideError for one that does not exist, or answer.

    Not asked by a consumer: behind a fetch, its answer would wait for records.
    """
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    try:
        found: TopicMetadata = admin.list_topics(topic, timeout=METADATA_TIMEOUT_SECONDS).topics[topic]
        if found.error is not None:
            raise OutsideError(f"topic {topic}: {found.error.str()}")
        futures = admin.list_offsets(
            {TopicPartition(topic, partition): latest for partition in found.partitions},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=METADATA_TIMEOUT_SECONDS,
        )
        return {each.partition: answered(future, METADATA_TIMEOUT_SECONDS).offset for each, future in futures.items()}
    except KafkaException as error:
        raise OutsideError(f"topic {topic}: {explain(error)}") from error


def unreachable(settings: Settings, reason: str) -> OutsideError:
    return OutsideError(
        f"Kafka at {settings.bootstrap_servers} cannot be reached: {reason}",
        hint="headrace broker start starts one for development; --bootstrap-servers names another",
    )


def explain(error: KafkaException) -> str:
    """Kafka's error in one line."""
    cause = error.args[0] if error.args else error
    return f"{cause.str()} ({cause.name()})" if isinstance(cause, KafkaError) else str(cause)


def _admin(settings: Settings, reason: Reason) -> AdminClient:
    return AdminClient({**settings.client_config, **reason.properties})


def raw(message: Message) -> tuple[bytes | None, bytes | None, int]:
    """Key, value and timestamp of a record."""
    key, value = message.key(), message.value()
    assert not isinstance(key, str)
    assert not isinstance(value, str)
    return key, value, message.timestamp()[1]

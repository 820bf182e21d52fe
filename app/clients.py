"""Kafka clients of the command line, and Kafka's errors in words that help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ClusterMetadata, TopicMetadata
from confluent_kafka.admin import NewTopic as KafkaNewTopic

from headrace.app.errors import OutsideError, UsageError
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


def create_topic(settings: Settings, topic: str, partitions: int) -> None:
    """Create a topic with the broker's defaults, and wait until it is there."""
    admin = _admin(settings, Reason())
    future = admin.create_topics([KafkaNewTopic(topic, num_partitions=partitions)])[topic]
    try:
        future.result(timeout=METADATA_TIMEOUT_SECONDS)
    except KafkaException as error:
        raise OutsideError(f"could not create topic {topic}: {explain(error)}") from error


def producer(settings: Settings, properties: Mapping[str, Any]) -> Producer:
    with _bad_properties_refused():
        return Producer({**settings.client_config, **QUIET, **properties})


def consumer(settings: Settings, properties: Mapping[str, Any]) -> Consumer:
    with _bad_properties_refused():
        return Consumer({**settings.client_config, **QUIET, **properties})


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
    with _bad_properties_refused():
        return AdminClient({**settings.client_config, **reason.properties})


@contextmanager
def _bad_properties_refused() -> Iterator[None]:
    """A client that cannot even be made was given a wrong property: the user's mistake, not Kafka's."""
    try:
        yield
    except KafkaException as error:
        raise UsageError(f"kafka.<property>: {explain(error)}") from error

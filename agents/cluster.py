"""A Kafka cluster as an app sees it: topics, offsets of partitions and of the app's group. Everything here blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from headrace.agents.admin import answered
from headrace.agents.config import WorkerConfig, librdkafka_options, replicas_among
from headrace.agents.errors import KafkaFailure
from headrace.agents.topology import TopicSpec
from headrace.sql.runtime.records import Position, TopicPartition

log = structlog.get_logger(__name__)

T = TypeVar("T")

REACH_S = 6.0
"""Time a cluster has to answer for the first time."""
REQUEST_S = 30.0
ASK_S = 5.0
TOGETHER_S = 1.0
"""Time for the offsets of several partitions in one answer, before each is asked for by itself."""
PATIENCE_S = 60.0
"""Time a cluster has to get over a restart or an election."""


PASSING = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._ALL_BROKERS_DOWN,
    }
)
"""Errors of a cluster that is electing leaders, loading a coordinator or restarting."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the cluster has it."""

    name: str
    id: str
    """Differs from that of a topic of the same name that was deleted."""
    partitions: int
    config: Mapping[str, str]


class Cluster:
    """An admin client of one cluster. Methods block, for as long as a request may take, and raise KafkaFailure."""

    def __init__(self, config: WorkerConfig) -> None:
        self.address = config.bootstrap_servers
        self._group = config.app
        self._unreachable = ""
        self._options: dict[str, Any] = {**librdkafka_options(config), "error_cb": self._note_error}
        self._admin = self._new_admin()
        """Whoever asks it holds it until the answer: a client that nobody holds gives none."""

    def _new_admin(self) -> AdminClient:
        return AdminClient(self._options)

    def _note_error(self, error: KafkaError) -> None:
        self._unreachable = error.str()

    def reach(self) -> None:
        """Fail within about ten seconds, naming the address, where no broker answers."""
        try:
            self._admin.list_topics(timeout=REACH_S)
        except KafkaException as error:
            self._admin.poll(0)  # brings the reason to _note_error
            raise KafkaFailure(
                f"no Kafka broker answers at {self.address}: {self._unreachable or error.args[0].str()}",
                "is it running? `headrace broker start` starts one; --bootstrap-servers names another",
            ) from error

    # Topics

    def topics(self, names: Collection[str]) -> dict[str, TopicState]:
        """Those of the topics that exist, with their configuration."""
        partitions = self._describe(names)
        configs = self._configs(partitions)
        return {name: TopicState(name, id_, count, configs.get(name, {})) for name, (id_, count) in partitions.items()}

    def source_partitions(self, names: Collection[str]) -> dict[str, int]:
        """Partition counts of those of the topics that exist."""
        return {name: count for name, (_, count) in self._describe(names).items()}

    def _describe(self, names: Collection[str]) -> dict[str, tuple[str, int]]:
        if not names:
            return {}
        found = {}
        admin = self._admin
        futures = admin.describe_topics(TopicCollection(sorted(set(names))), request_timeout=REQUEST_S)
        for name, future in futures.items():
            try:
                description = answered(future, REQUEST_S)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue
                raise self._failure(f"topic {name!r} cannot be described", error) from error
            found[name] = (str(description.topic_id), len(description.partitions))
        return found

    def _configs(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not resources:
            return {}
        configs, admin = {}, self._admin
        for resource, future in admin.describe_configs(resources, request_timeout=REQUEST_S).items():
            entries = self._result(future, f"configuration of topic {resource.name!r} cannot be read")
            configs[resource.name] = {entry.name: str(entry.value) for entry in entries.values()}
        return configs

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics, all of which say with how many partitions. One that exists by now is left as it is."""
        if not specs:
            return
        replicas = replicas_among(self._broker_count())
        new = [_new_topic(spec, replicas) for spec in specs]
        admin = self._admin
        for name, future in admin.create_topics(new, request_timeout=REQUEST_S).items():
            try:
                answered(future, REQUEST_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self._failure(f"topic {name!r} cannot be created", error) from error
            else:
                log.info("topic created", topic=name)

    def _broker_count(self) -> int:
        return len(self._admin.list_topics(timeout=REQUEST_S).brokers)

    def delete(self, names: Collection[str]) -> None:
        """Delete topics, and wait until the cluster tells of them no more; those that do not exist are passed over."""
        existing = self._describe(names)
        if not existing:
            return
        admin = self._admin
        for name, future in admin.delete_topics(sorted(existing), request_timeout=REQUEST_S).items():
            try:
                answered(future, REQUEST_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise self._failure(f"topic {name!r} cannot be deleted", error) from error
        deadline = time.monotonic() + REQUEST_S
        while left := self._describe(names):
            if time.monotonic() > deadline:
                raise KafkaFailure(f"topics were deleted but still appear: {', '.join(left)}")
            time.sleep(0.05)

    # Offsets

    def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """High watermark of each partition."""
        return self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def begin_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """First offset that each partition still has."""
        return self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def offsets_at(self, partitions: Collection[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        """First offset of each partition with at least this timestamp; its end where there is none."""
        found = self._offsets(partitions, OffsetSpec.for_timestamp(timestamp_ms))
        missing = [partition for partition, offset in found.items() if offset < 0]
        return {**found, **self.end_offsets(missing)}

    def _offsets(self, partitions: Collection[TopicPartition], spec: OffsetSpec) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        wanted = {KafkaPartition(*partition): spec for partition in partitions}
        topics = sorted({topic for topic, _ in partitions})

        def ask(admin: AdminClient) -> dict[TopicPartition, int]:
            answers = admin.list_offsets(wanted, request_timeout=ASK_S)
            return {TopicPartition(p.topic, p.partition): int(answered(f, ASK_S).offset) for p, f in answers.items()}

        return self._patiently(ask, f"offsets of {', '.join(topics)} cannot be read")

    def delete_records(self, before: Mapping[TopicPartition, int]) -> None:
        """Delete the records of each partition that stand before an offset."""
        wanted = [KafkaPartition(*partition, offset) for partition, offset in before.items()]
        admin = self._admin
        for partition, future in admin.delete_records(wanted, request_timeout=REQUEST_S).items():
            self._result(future, f"records of {partition.topic} cannot be deleted")

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Position]:
        """The group's committed positions of those partitions that have one, with no transaction pending on them.

        Waits for transactions that are under way: for who goes on from there.
        """
        return self._positions(partitions, "read_committed")

    def committed_so_far(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Position]:
        """As `committed`, at once: a transaction that is under way may bring the group further. For who looks on."""
        return self._positions(partitions, "read_uncommitted")

    def _positions(self, partitions: Collection[TopicPartition], isolation: str) -> dict[TopicPartition, Position]:
        if not partitions:
            return {}
        wanted = [KafkaPartition(*partition) for partition in partitions]
        # The admin client's own request for this ends the process (librdkafka 2.16) where a new cluster has no
        # coordinator yet; a consumer asks the same and waits. Under read_committed it asks for stable offsets.
        options = {**self._options, "group.id": self._group, "isolation.level": isolation}

        def ask(_admin: AdminClient) -> dict[TopicPartition, Position]:
            consumer = Consumer(options)
            try:
                found = _ask_positions(consumer, wanted)
            finally:
                consumer.close()
            return {
                TopicPartition(p.topic, p.partition): Position(p.offset, _metadata(p)) for p in found if p.offset >= 0
            }

        return self._patiently(ask, f"offsets of group {self._group!r} cannot be read")

    def has_members(self) -> bool:
        """Whether any worker of the app is in its group."""

        def ask(admin: AdminClient) -> bool:
            try:
                future = admin.describe_consumer_groups([self._group], request_timeout=ASK_S)[self._group]
                return bool(answered(future, ASK_S).members)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                    return False
                raise

        return self._patiently(ask, f"group {self._group!r} cannot be described")

    def delete_group(self) -> None:
        """Forget the app's group offsets. Fails while a worker is running."""
        admin = self._admin
        future = admin.delete_consumer_groups([self._group], request_timeout=REQUEST_S)[self._group]
        try:
            answered(future, REQUEST_S)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.NON_EMPTY_GROUP:
                raise KafkaFailure(f"app {self._group!r} is running", "stop its workers first") from error
            if code != KafkaError.GROUP_ID_NOT_FOUND:
                raise self._failure(f"offsets of group {self._group!r} cannot be deleted", error) from error

    def _patiently(self, ask: Callable[[AdminClient], T], failing: str) -> T:
        """Ask again where the cluster is between two states: librdkafka does not for admin requests."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            admin = self._admin
            try:
                return ask(admin)
            except KafkaException as error:
                if error.args[0].code() not in PASSING or time.monotonic() > deadline:
                    raise self._failure(failing, error) from error
            # After a restart of the broker an old client asks in vain for ever: it keeps what it knew of coordinators.
            time.sleep(0.2)
            if self._admin is admin:  # or else another thread has made a new one by now
                self._admin = self._new_admin()

    def _result(self, future: Future[T], failing: str) -> T:
        try:
            return answered(future, REQUEST_S)
        except KafkaException as error:
            raise self._failure(failing, error) from error

    def _failure(self, message: str, error: KafkaException) -> KafkaFailure:
        return KafkaFailure(f"{message}: {error.args[0].str()}", f"Kafka at {self.address}")


def _ask_positions(consumer: Consumer, partitions: list[KafkaPartition]) -> list[KafkaPartition]:
    if len(partitions) > 1:
        with suppress(KafkaException):
            return _without_errors(consumer.committed(partitions, timeout=TOGETHER_S))
    # While others commit often, there may be no moment in which nothing is pending on any of many partitions.
    found = (consumer.committed([partition], timeout=ASK_S) for partition in partitions)
    return [position for positions in found for position in _without_errors(positions)]


def _without_errors(partitions: list[KafkaPartition]) -> list[KafkaPartition]:
    for failed in (p.error for p in partitions if p.error is not None):
        raise KafkaException(failed)
    return partitions


def _metadata(partition: KafkaPartition) -> str:
    """What was stored with a group offset; nothing where another program stored what is not ours."""
    try:
        return (partition.metadata or "").rstrip("\0")
    except UnicodeDecodeError:
        return ""


def _new_topic(spec: TopicSpec, replicas: int) -> NewTopic:
    assert spec.partitions is not None
    return NewTopic(spec.name, spec.partitions, spec.replicas or replicas, config=dict(spec.config))

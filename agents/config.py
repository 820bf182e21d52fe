"""What a worker is started with, and how its Kafka properties reach the two clients."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from aiokafka.helpers import create_ssl_context

from headrace.sql.runtime.records import TopicPartition

FETCH_BYTES_MAX = 512 * 1024
"""Bytes of one partition in one fetch: bounds the records that are handled without yielding (about 10 ms of work)."""


class Guarantee(StrEnum):
    """What a crash may do to the results."""

    EXACTLY_ONCE = "exactly_once"
    """Nothing that a reader of committed records could see."""
    AT_LEAST_ONCE = "at_least_once"
    """Repeat some."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """One worker process of one app. Durations in seconds."""

    bootstrap_servers: str
    app: str
    """Name of the app, and of its consumer group."""
    state_dir: Path
    slot: int = 0
    """Number of this worker on this machine: names its state directory and its client."""
    guarantee: Guarantee = Guarantee.EXACTLY_ONCE
    commit_interval_s: float = 0.2
    start_from: str | int = "earliest"
    """Where a source partition that was never read starts: earliest, latest or a timestamp in epoch milliseconds."""
    kafka: Mapping[str, str] = field(default_factory=dict)
    """Client properties as librdkafka and the Java client spell them (`security.protocol`, `ssl.ca.location`, …)."""
    instance_id: str | None = None
    """Static membership: the worker's place in the group outlives a restart shorter than the session time-out."""
    ends: Mapping[TopicPartition, int] | None = None
    """End offset of every source partition of a finite run; None for an endless one."""
    state_cache_bytes: int = 64 * 2**20
    """Memory for cached state of all tasks that could be read from the stores again."""
    pending_max: int = 200_000
    """Outputs and changed entries of all tasks that may wait for a commit before none is fed any more."""
    stop_deadline_s: float = 20.0
    stalled_s: float = 60.0
    """After how long a partition with records to read, whose position does not move, is reported."""
    restore_timeout_s: float = 60.0
    """After how long without progress the restore of a task is given up."""
    session_timeout_s: float = 10.0
    rebalance_timeout_s: float = 30.0

    @property
    def client_id(self) -> str:
        return f"{self.app}-{self.slot}"

    @property
    def group_instance_id(self) -> str | None:
        """The worker's name as a static member of the group."""
        return None if self.instance_id is None else f"{self.instance_id}-{self.slot}"

    @property
    def isolation_level(self) -> str:
        """What is read unless the client's properties say otherwise."""
        return "read_committed" if self.guarantee is Guarantee.EXACTLY_ONCE else "read_uncommitted"


def _check_hostname(value: str) -> bool:
    return value.lower() not in ("", "none")


def _milliseconds(value: str) -> int:
    return int(float(value))


_CONSUMER_OPTIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "client.id": ("client_id", str),
    "client.rack": ("client_rack", str),
    "security.protocol": ("security_protocol", str.upper),
    "sasl.mechanism": ("sasl_mechanism", str),
    "sasl.mechanisms": ("sasl_mechanism", str),
    "sasl.username": ("sasl_plain_username", str),
    "sasl.password": ("sasl_plain_password", str),
    "sasl.kerberos.service.name": ("sasl_kerberos_service_name", str),
    "session.timeout.ms": ("session_timeout_ms", _milliseconds),
    "heartbeat.interval.ms": ("heartbeat_interval_ms", _milliseconds),
    "request.timeout.ms": ("request_timeout_ms", _milliseconds),
    "metadata.max.age.ms": ("metadata_max_age_ms", _milliseconds),
    "connections.max.idle.ms": ("connections_max_idle_ms", _milliseconds),
    "retry.backoff.ms": ("retry_backoff_ms", _milliseconds),
    "fetch.max.bytes": ("fetch_max_bytes", int),
    "max.partition.fetch.bytes": ("max_partition_fetch_bytes", int),
    "fetch.message.max.bytes": ("max_partition_fetch_bytes", int),
    "isolation.level": ("isolation_level", str),
}
_CONSUMER_ONLY = frozenset(
    {
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "fetch.max.bytes",
        "max.partition.fetch.bytes",
        "fetch.message.max.bytes",
        "isolation.level",
    }
)
_JAVA_ONLY = frozenset({"request.timeout.ms"})


def consumer_options(config: WorkerConfig) -> dict[str, Any]:
    """The properties as keyword arguments of aiokafka's consumer; those it does not know are left out."""
    options: dict[str, Any] = {}
    for name, value in config.kafka.items():
        if name in _CONSUMER_OPTIONS:
            option, convert = _CONSUMER_OPTIONS[name]
            options[option] = convert(value)
    if options.get("security_protocol", "PLAINTEXT") in ("SSL", "SASL_SSL"):
        options["ssl_context"] = _ssl_context(config.kafka)
    return options


def _ssl_context(kafka: Mapping[str, str]) -> ssl.SSLContext:
    context: ssl.SSLContext = create_ssl_context(
        cafile=kafka.get("ssl.ca.location"),
        certfile=kafka.get("ssl.certificate.location"),
        keyfile=kafka.get("ssl.key.location"),
        password=kafka.get("ssl.key.password"),
        cadata=kafka.get("ssl.ca.pem"),
    )
    context.check_hostname = _check_hostname(kafka.get("ssl.endpoint.identification.algorithm", "https"))
    if kafka.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def librdkafka_options(config: WorkerConfig) -> dict[str, Any]:
    """The properties as configuration of librdkafka's producer and admin client, which check them."""
    options: dict[str, Any] = {
        "bootstrap.servers": config.bootstrap_servers,
        "client.id": config.client_id,
        "reconnect.backoff.max.ms": 1_000,
        "logger": logging.getLogger("librdkafka"),
        "broker.address.family": "any",
    }
    excluded = _CONSUMER_ONLY | _JAVA_ONLY
    options.update((name, value) for name, value in config.kafka.items() if name not in excluded)
    return options


def replicas_among(brokers: int) -> int:
    """Replicas of a topic that does not say how many."""
    return min(3, brokers)

"""What can be set from outside: every setting with its type, default and meaning (settings_sources reads them)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from headrace.agents.config import Guarantee
from headrace.sql.physical import Mode
from headrace.sql.plan import Changes
from headrace.sql.vocabulary import Emit, Late, OnError

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:,]+):(\d{1,5})")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class OnLostRecords(StrEnum):
    FAIL = "fail"
    CONTINUE = "continue"


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


OWNED_PROPERTIES = {
    "bootstrap.servers": "set by bootstrap_servers",
    "enable.auto.commit": "Headrace's own: offsets are committed with the results",
    "group.id": "set by app",
    "group.instance.id": "set by instance_id",
    "transactional.id": "Headrace's own: it follows from app and worker",
}
"""Client properties that are not the user's to set, and why."""


def parse_duration(value: object) -> timedelta:
    """`200ms`, `5s`, `10m`, `1.5h`, `7d`; ValueError for all else."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a duration is a number and a unit (ms, s, m, h, d), such as 200ms, 5s or 10m")
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError:
        raise ValueError("the longest duration is 999999999d") from None


def _positive(duration: timedelta) -> timedelta:
    if duration <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return duration


def _addresses(text: str) -> str:
    for address in text.split(","):
        match = _ADDRESS.fullmatch(address.strip())
        if match is None or not 0 < int(match[2]) < 65536:
            raise ValueError(f"{address.strip()!r} is not host:port")
    return text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or text in (".", ".."):
        raise ValueError("use letters, digits, '.', '_' and '-' (topics and consumer groups are named by it)")
    return text


def _listed(value: object) -> object:
    """Several in one text are divided by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_positive)]
Name = Annotated[str, AfterValidator(_name)]


class Settings(BaseSettings):
    """All settings, valid. `model_fields_set` tells which were given; the others may be set in SQL."""

    model_config = SettingsConfigDict(
        env_prefix="HEADRACE_", extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    bootstrap_servers: Annotated[str, AfterValidator(_addresses)] = "127.0.0.1:9092"
    """Where Kafka is: host:port, several by commas."""
    app: Name | None = None
    """The app's name, which its topics and consumer group carry; the SQL file's stem by default."""
    udf: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """Modules with functions of your own, by dotted name or by the path of a `.py` file; several by commas."""
    mode: Mode = Mode.PARTITIONED
    """One task per partition, or one task over all partitions."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Worker processes on this machine."""
    parallelism: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Partitions after a re-key; by default the largest source partition count at the first run."""
    guarantee: Guarantee = Guarantee.EXACTLY_ONCE
    """What a crash may do to results: nothing, for readers of committed records, or repeat some."""
    commit_interval: Duration = timedelta(milliseconds=200)
    """Time between two commits of a worker."""
    state_dir: Path = Path(".headrace")
    """Folder for the local copy of the state."""
    state_cache_mb: Annotated[int, Field(ge=1)] = 64
    """Memory for the state cache of one worker."""
    http_host: str = "127.0.0.1"
    """Address of the HTTP endpoints, the workers' or a job server's."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8088
    """Port of the HTTP endpoints: a job server's, or the first worker's, the next has the next one; 0: no endpoints."""
    http_token: SecretStr | None = None
    """Bearer token of a job server, 16 characters or more; without it, it serves this machine only. Not for `run`."""
    http_tls_certificate: Path | None = None
    """Certificate chain of a job server, a PEM file; with it, it speaks HTTPS only. Not for `run`."""
    http_tls_key: Path | None = None
    """Private key of the certificate, a PEM file without a password. Not for `run`."""
    http_rate: Annotated[int, Field(ge=1)] = 100
    """Requests a second that a job server takes from one address. Not for `run`."""
    on_error: OnError = OnError.DEAD_LETTER
    """What a bad record does."""
    late: Late = Late.DEAD_LETTER
    """What a late record does."""
    changes: Changes = Changes.EVERY
    """With EMIT CHANGES: a row per change, or the newest row of each group per commit."""
    emit: Emit | None = None
    """When results are written; changes without a window and final with one by default."""
    idle_timeout: Duration = timedelta(seconds=30)
    """Silence after which a partition that was read to its end no longer holds back the others."""
    on_lost_records: OnLostRecords = OnLostRecords.FAIL
    """What is done when Kafka has deleted records that were not read yet."""
    start_from: str = "earliest"
    """Where a new app starts to read: earliest, latest, or a time (ISO-8601 or epoch milliseconds)."""
    server_url: str = "http://127.0.0.1:8088"
    """Job server that `headrace jobs` asks."""
    jobs_topic: Name = "headrace-jobs"
    """Topic that holds the jobs of a job server and of all that share them."""
    job_events_topic: Name = "headrace-job-events"
    """Topic in which job servers tell what becomes of jobs."""
    log_format: LogFormat = LogFormat.TEXT
    log_level: LogLevel = LogLevel.INFO
    instance_id: Name | None = None
    """Static membership: a worker that comes back under this name within the session keeps its partitions."""
    kafka: dict[str, str] = Field(default_factory=dict)
    """Properties of the Kafka client (TLS, SASL and others), by their librdkafka names."""

    @field_validator("start_from")
    @classmethod
    def _check_start_from(cls, text: str) -> str:
        if text in ("earliest", "latest") or re.fullmatch(r"\d{1,15}", text):
            return text
        try:
            datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("must be earliest, latest, an ISO-8601 time or epoch milliseconds") from None
        return text

    @field_validator("kafka", mode="before")
    @classmethod
    def _as_text(cls, properties: object) -> object:
        """A TOML file may hold numbers and Booleans; librdkafka takes text."""
        if not isinstance(properties, dict):
            return properties
        return {name: str(v).lower() if isinstance(v, bool) else str(v) for name, v in properties.items()}

    @field_validator("kafka")
    @classmethod
    def _check_properties(cls, properties: dict[str, str]) -> dict[str, str]:
        for name in properties.keys() & OWNED_PROPERTIES.keys():
            raise ValueError(f"{name} is {OWNED_PROPERTIES[name]}")
        return properties

    @field_validator("kafka")
    @classmethod
    def _check_isolation(cls, properties: dict[str, str], others: ValidationInfo) -> dict[str, str]:
        isolation = properties.get("isolation.level", "read_committed")
        if others.data.get("guarantee") is Guarantee.EXACTLY_ONCE and isolation != "read_committed":
            raise ValueError("isolation.level: exactly_once reads committed records only")
        return properties

    @property
    def client_config(self) -> dict[str, str]:
        """The configuration of a confluent-kafka client."""
        return {**self.kafka, "bootstrap.servers": self.bootstrap_servers}

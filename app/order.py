"""What the supervisor tells a worker process, as one line of JSON on its stdin: an app, its settings, its sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import orjson

from headrace.agents.config import Guarantee, WorkerConfig
from headrace.agents.task import TaskSettings
from headrace.app.application import App
from headrace.app.errors import UsageError
from headrace.app.settings import OnLostRecords, Settings, parse_duration
from headrace.app.settings_sources import settings_as_given
from headrace.app.udfs import load_modules
from headrace.sql.physical import Mode, SourceInput
from headrace.sql.runtime.records import TopicPartition

QUERY_SETTINGS = ("emit", "changes", "on_error", "late", "start_from", "idle_timeout")


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """The same for all workers of a run but for the slot: what was looked up once must not differ between them."""

    sql_text: str
    file: str
    app: str
    settings: Settings
    source_partitions: Mapping[str, int]
    ends: Mapping[TopicPartition, int] | None
    """End offset of every source partition of a finite run."""
    slot: int
    continue_changed: bool = False
    """The text may be another one than before: somebody has judged that state and sinks stay what they are."""
    diverted: Mapping[str, str | None] = field(default_factory=dict)
    """Sinks that another version of the app writes still, as in Topology."""

    @classmethod
    def plain(cls, app: App, settings: Settings) -> WorkerOrder:
        """What is known of an app before anything was looked up: enough to ask the cluster for it."""
        return cls("", app.name, app.name, settings, {}, None, slot=0)

    def to_json(self) -> bytes:
        document: dict[str, Any] = {
            "sql_text": self.sql_text,
            "file": self.file,
            "app": self.app,
            "settings": _settings_document(self.settings),
            "source_partitions": self.source_partitions,
            "ends": None if self.ends is None else [[*partition, end] for partition, end in self.ends.items()],
            "slot": self.slot,
            "continue_changed": self.continue_changed,
            "diverted": dict(self.diverted),
        }
        return orjson.dumps(document)

    @classmethod
    def from_json(cls, line: bytes) -> WorkerOrder:
        document = orjson.loads(line)
        ends = document["ends"]
        if ends is not None:
            ends = {TopicPartition(topic, partition): end for topic, partition, end in ends}
        return cls(**document | {"settings": settings_as_given(document["settings"]), "ends": ends})


def open_app(sql_text: str, file: str, name: str, settings: Settings) -> App:
    """The app under the settings that were given from outside; what SET and WITH say comes before them.

    Raises SqlError for the text, UsageError and InputError for the modules of its own functions.
    """
    return App(sql_text, name, settings=query_settings(settings), udfs=load_modules(settings.udf), file=file)


def query_settings(settings: Settings) -> dict[str, str]:
    """Those of the settings given from outside that queries have, as SET takes them."""
    return {
        setting: _as_sql(getattr(settings, setting))
        for setting in QUERY_SETTINGS
        if setting in settings.model_fields_set
    }


def worker_config(app: App, order: WorkerOrder) -> WorkerConfig:
    """The order as the Kafka edge takes it."""
    settings = order.settings
    return WorkerConfig(
        bootstrap_servers=settings.bootstrap_servers,
        app=order.app,
        state_dir=settings.state_dir,
        slot=order.slot,
        guarantee=settings.guarantee,
        commit_interval_s=settings.commit_interval.total_seconds(),
        state_cache_bytes=settings.state_cache_mb * 2**20,
        start_from=_start(app),
        kafka=settings.kafka,
        instance_id=settings.instance_id,
        ends=order.ends,
    )


def task_settings(app: App, order: WorkerOrder) -> TaskSettings:
    settings = order.settings
    idle = app.settings.get("idle_timeout")
    timeout = parse_duration(idle) if idle else settings.idle_timeout
    return TaskSettings(
        timeout.total_seconds() if order.ends is None else inf,
        continue_when_lost=settings.on_lost_records is OnLostRecords.CONTINUE,
        exactly_once=settings.guarantee is Guarantee.EXACTLY_ONCE,
        continue_changed=order.continue_changed,
    )


def _start(app: App) -> str | int:
    """Where a partition that was never read is begun: one place for the whole app."""
    inputs = (stage.input for stage in app.plan(Mode.PARTITIONED).stages)
    starts = {each.source.start_from for each in inputs if isinstance(each, SourceInput)}
    if len(starts) > 1:
        raise UsageError(f"sources start from different places ({', '.join(sorted(starts))}): not available yet")
    start = starts.pop()
    return start if start in ("earliest", "latest") else max(0, int(start))


def _as_sql(value: object) -> str:
    return f"{value.total_seconds() * 1000:.0f}ms" if hasattr(value, "total_seconds") else str(value)


def _settings_document(settings: Settings) -> dict[str, Any]:
    """The settings that were given, as text that reads back."""
    return {
        name: _as_sql(value) if name in ("commit_interval", "idle_timeout") else value
        for name, value in settings.model_dump(exclude_unset=True).items()
    } | {"state_dir": str(settings.state_dir.absolute())}

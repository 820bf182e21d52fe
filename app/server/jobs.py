"""Jobs as the records of the topic of jobs say, and what each further record makes of them: pure, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from headrace.app.settings import Settings
from headrace.app.settings_sources import settings_as_given
from headrace.sql.errors import did_you_mean
from headrace.sql.physical import Mode

_LIKE_A_GENERATION = re.compile(r"\.\d+$")
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,89}"
"""The name of an app, of 100 characters, has room for a generation behind it."""
SQL_CHARACTERS_MAX = 1_000_000
JOB_SETTINGS = (
    "changes",
    "commit_interval",
    "emit",
    "guarantee",
    "idle_timeout",
    "late",
    "on_error",
    "on_lost_records",
    "parallelism",
    "start_from",
    "state_cache_mb",
)
"""Settings that a job may have of its own. Where things are, and all secrets, belong to the server."""

SERVER_SETTINGS = (
    "http_token",
    "http_tls_certificate",
    "http_tls_key",
    "http_rate",
    "server_url",
    "jobs_topic",
    "job_events_topic",
)
"""Settings that are of no use to a worker."""


class Wanted(StrEnum):
    """What a job is to be."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


def _known_settings(settings: Mapping[str, str]) -> Mapping[str, str]:
    for name in settings:
        if name not in JOB_SETTINGS:
            place = "is the server's to set" if name in Settings.model_fields else "is no setting"
            raise ValueError(f"`{name}` {place}; {did_you_mean(name, JOB_SETTINGS)}")
    try:
        settings_as_given(settings)
    except ValidationError as error:
        raise ValueError(_told_all(error)) from None
    return settings


class JobSpec(BaseModel):
    """What a user says of a job."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    sql: Annotated[str, Field(min_length=1, max_length=SQL_CHARACTERS_MAX)]
    """The app."""
    mode: Mode = Mode.PARTITIONED
    """One task per partition, or one task over all partitions."""
    workers: Annotated[int, Field(ge=1, le=64, strict=True)] = 1
    """Worker processes on each server."""
    settings: Annotated[Mapping[str, str], AfterValidator(_known_settings)] = Field(
        default_factory=dict, json_schema_extra={"propertyNames": {"enum": list(JOB_SETTINGS)}}
    )
    """Settings of its own, as texts: those of queries, guarantee, commit_interval, parallelism, state_cache_mb."""


class ReplacedVersion(JobSpec):
    """The version of a job that does the work until another one has caught up with it."""

    generation: Annotated[int, Field(ge=0, strict=True)] = 0
    version: Annotated[int, Field(ge=1, strict=True)] = 1
    """Of the last record in which it was the newest."""


class JobRecord(JobSpec):
    """The value of a record of the topic of jobs, under the job's name as the key."""

    wanted: Wanted = Wanted.RUNNING
    version: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Larger with each change; a record whose version is not larger comes from who did not know the newest. By default
    one that is larger."""
    generation: Annotated[int, Field(ge=0, strict=True)] = 0
    """Larger where the job is to begin anew, from its sources: each has a consumer group and internal topics of its
    own."""
    replaces: ReplacedVersion | None = None
    """What goes on until this version, of a larger generation, has caught up and takes over."""
    switched_by: str | None = None
    """The server that has this version take over now."""
    restarts: Annotated[int, Field(ge=0, strict=True)] = 0
    """Another number has the workers end and start again."""

    @model_validator(mode="after")
    def _check_generations(self) -> Self:
        if self.replaces is not None and self.replaces.generation >= self.generation:
            raise ValueError("what it replaces is of a smaller generation")
        if self.replaces is None and self.switched_by is not None:
            raise ValueError("switched_by goes with replaces")
        return self


@dataclass(frozen=True, slots=True)
class Job:
    """A job in one of its versions."""

    name: str
    record: JobRecord

    @property
    def version(self) -> int:
        assert self.record.version is not None, "given when the record is taken"
        return self.record.version

    @property
    def app(self) -> str:
        """Name of its app, and so of its consumer group and its internal topics."""
        generation = self.record.generation
        return self.name if generation == 0 else f"{self.name}.{generation}"

    @property
    def spec(self) -> JobSpec:
        return JobSpec(**{name: getattr(self.record, name) for name in JobSpec.model_fields})

    @property
    def replaced(self) -> Job | None:
        """The version that does the work until this one takes over, wanted as this one is."""
        if self.record.replaces is None:
            return None
        update = {"wanted": self.record.wanted, "restarts": self.record.restarts}
        return Job(self.name, JobRecord(**dict(self.record.replaces)).model_copy(update=update))

    def stopped(self) -> Job:
        """The same version, but that its workers are to end."""
        return Job(self.name, self.record.model_copy(update={"wanted": Wanted.STOPPED}))

    def settings(self, server: Settings) -> Settings:
        """The settings of its workers: its own before those of the server. Raises Refused where they do not agree."""
        given = {name: getattr(server, name) for name in server.model_fields_set if name not in SERVER_SETTINGS}
        kafka = {f"kafka.{name}": value for name, value in given.pop("kafka", {}).items()}
        of_server = {"mode": self.record.mode, "workers": self.record.workers, "http_port": 0, "app": self.app}
        try:
            return settings_as_given({**given, **kafka, **self.record.settings, **of_server})
        except ValidationError as error:
            raise Refused(_told_all(error)) from None

    def to_record(self) -> bytes:
        """The value of its record."""
        return self.record.model_dump_json(exclude_defaults=True).encode()


class Refused(Exception):  # noqa: N818
    """A record that is no job, or may not become one now; the text says why."""

    def __init__(self, text: str, errors: Sequence[Mapping[str, object]] = ()) -> None:
        super().__init__(text)
        self.errors = errors
        """The problems of the SQL, each with its place in it."""


class Conflict(Exception):  # noqa: N818
    """What was asked for does not fit what the job is; the text says why."""


class NoSuchJob(Exception):  # noqa: N818
    """There is no job of that name."""


def read_name(key: bytes | None) -> str:
    """The name in a record's key; Refused for what is none."""
    if key is None:
        raise Refused("the record has no key, which is the job's name")
    name = key.decode(errors="replace")
    if not re.fullmatch(NAME, name):
        raise Refused(f"{name!r} is no name of a job: letters, digits, '.', '_' and '-', at most 90")
    return name


def read_record(value: bytes) -> JobRecord:
    """The job in a record's value; Refused, with all that is wrong."""
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Refused(f"the value is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Refused("the value is not a JSON object")
    try:
        return JobRecord(**document)
    except ValidationError as error:
        raise Refused(_told_all(error)) from None


def _told_all(error: ValidationError) -> str:
    return "; ".join(_told(problem) for problem in error.errors())


def _told(problem: Mapping[str, Any]) -> str:
    place = ".".join(map(str, problem["loc"]))
    text = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}: {text}" if place else text


def _passes_over_a_switch(current: JobRecord, record: JobRecord) -> bool:
    """Whether a version would take over whose results still wait in topics of their own."""
    is_waiting = current.replaces is not None and current.switched_by is None
    return is_waiting and record.replaces is None and record.generation == current.generation


class Jobs:
    """All jobs of the topic, as far as it has been read."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def __iter__(self) -> Iterator[Job]:
        return iter(sorted(self._jobs.values(), key=lambda job: job.name))

    def get(self, name: str) -> Job | None:
        return self._jobs.get(name)

    def next(self, name: str, record: JobRecord, offset: int = 0) -> Job | None:
        """The job that a record makes; None where it says what is known already. Refused for an old version.

        One without a version gets one by its offset: the same for a server that has not seen what was before.
        """
        current = self._jobs.get(name)
        if current is None and _LIKE_A_GENERATION.search(name):
            raise Refused(f"{name!r} ends as the names of generations do: not with a dot and a number")
        latest = 0 if current is None else current.version
        if record.version is None:
            return Job(name, record.model_copy(update={"version": max(latest, offset) + 1}))
        if current is not None and record == current.record:
            return None
        if record.version <= latest:
            raise Refused(f"version {record.version} is not newer than {latest}, which is deployed")
        if current is not None and _passes_over_a_switch(current.record, record):
            raise Refused("the job is being rebuilt, and takes over by itself: give `replaces` as it is")
        return Job(name, record)

    def put(self, job: Job) -> None:
        self._jobs[job.name] = job

    def remove(self, name: str) -> Job | None:
        """The job that was there."""
        return self._jobs.pop(name, None)


def changed(job: Job, **update: object) -> Job:
    """The next version of a job. What is not checked again must be right."""
    return Job(job.name, job.record.model_copy(update={**update, "version": job.version + 1}))

"""The JSON documents of the server's HTTP API."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from headrace.app.server.jobs import NAME, JobSpec, Wanted
from headrace.app.server.runner import State
from headrace.app.server.verdicts import Kind
from headrace.sql.explain import ExplainStage
from headrace.sql.physical import Mode


class NewJob(JobSpec):
    """A job to deploy: its name, its SQL, and how it is run."""

    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    """Also the name of its consumer group, and the prefix of its topics."""


class RebuildSummary(BaseModel):
    """The version that is made anew beside the one that does the work."""

    generation: int
    state: State
    reason: str | None
    """Why it does not go on."""
    behind: int | None
    """Records that it has yet to read; null before that is known."""
    switching: bool
    """It has caught up and takes over: neither version reads until that is done."""


class JobSummary(BaseModel):
    """A job, as this server has it."""

    name: str
    version: int
    generation: int
    wanted: Wanted
    state: State
    reason: str | None
    """Why it waits, failed, or starts again."""
    mode: Mode
    workers: int
    """Worker processes of it on this server."""
    restarts: int
    """Workers that were started again since its last start."""
    reads: list[str]
    """Source topics."""
    writes: list[str]
    """Sink topics."""
    rebuild: RebuildSummary | None
    """Null where the newest version does the work."""


class JobList(BaseModel):
    """All jobs, by name."""

    jobs: list[JobSummary]


class JobDetail(JobSummary):
    """A job with its text, and what its workers on this server are doing."""

    sql: str
    settings: dict[str, str]
    status: list[dict[str, Any]]
    """The status of each worker that answers, as at GET /status of a worker."""


class Deployment(BaseModel):
    """What came of a deployment, or what a dry run says would come of it."""

    name: str
    version: int
    generation: int
    verdict: Kind
    reasons: list[str]
    dry_run: bool


class Explanation(BaseModel):
    """A job as one of the steps of its compilation."""

    stage: ExplainStage
    text: str


class Node(BaseModel):
    """A topic, or a stage of a job."""

    id: str
    kind: str
    """source, sink, repartition or stage."""
    stateful: bool


class Edge(BaseModel):
    """Records go from one node to another."""

    source: str
    target: str


class Picture(BaseModel):
    """The topology of a job, to be drawn."""

    nodes: list[Node]
    edges: list[Edge]


class DeadLetterDocument(BaseModel):
    """A record that could not be processed, and why."""

    time_ms: int
    reason: str
    kind: str
    query: str
    topic: str | None
    partition: int | None
    offset: int | None
    key: str | None
    value: str | None


class DeadLetters(BaseModel):
    """The newest dead letters of a job, newest first."""

    dead_letters: list[DeadLetterDocument]


class Health(BaseModel):
    """Well."""

    status: str


class ColumnDocument(BaseModel):
    """A column of a stream or table."""

    name: str
    type: str


class RelationDocument(BaseModel):
    """A stream or table of a job."""

    name: str
    kind: str
    topic: str
    job: str
    columns: list[ColumnDocument]
    keys: list[str]
    """Columns of a table's key."""


class RelationList(BaseModel):
    """What can be asked: what jobs write, then what they read."""

    relations: list[RelationDocument]


class Rows(BaseModel):
    """Rows of a table, with all that was committed when they were asked for."""

    rows: list[dict[str, Any]]
    total: int
    """Rows that there are, whatever the limit."""
    read_ms: int
    """When it was so, in milliseconds since the epoch."""
    newest_ms: int | None
    """Timestamp of the newest record of the table; null of an empty one."""


class Strict(BaseModel):
    """Refuses what it does not know."""

    model_config = ConfigDict(extra="forbid")


class DeployOptions(Strict):
    dry_run: bool = False
    """Say what would come of it, and do nothing."""
    rebuild: bool = False
    """Make state and results anew, from the sources, beside the version that runs, and switch when that is caught up
    with."""


class Doomed(StrEnum):
    """Topics that go with a job."""

    NONE = "none"
    INTERNAL = "internal"
    ALL = "all"


class DeleteOptions(Strict):
    topics: Doomed = Doomed.INTERNAL
    """internal: what only the job itself reads, its offsets and state; all: what it writes as well; none: all stay."""


class ExplainOptions(Strict):
    stage: ExplainStage = ExplainStage.PHYSICAL


class Limit(Strict):
    limit: Annotated[int, Field(ge=1, le=10_000)] = 100


class QueryText(Strict):
    """A question in SQL."""

    sql: Annotated[str, Field(min_length=1, max_length=20_000)]
    """One SELECT."""
    job: str | None = None
    """Ask the streams and tables of this job only: where others have the same names."""
    limit: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """Rows of the answer, at most."""

"""The logical plan: what each query of an app computes. Nodes are immutable; queries share them by reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from headrace.sql.expressions import AggregateCall, Column, Expr
from headrace.sql.syntax import Emit, RelationKind
from headrace.sql.types import TIMESTAMP
from headrace.sql.windows import Window

WINDOW_START = "window_start"
WINDOW_END = "window_end"


class Changes(StrEnum):
    """Which changes of a group EMIT CHANGES writes."""

    EVERY = "every"
    LATEST = "latest"


class OnError(StrEnum):
    DEAD_LETTER = "dead_letter"
    SKIP = "skip"
    FAIL = "fail"


class Late(StrEnum):
    DEAD_LETTER = "dead_letter"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A declared column of a source."""

    name: str
    column: Column
    key: bool
    unsigned: bool
    quoted: bool


@dataclass(frozen=True, slots=True)
class EventTime:
    """Where a source's event time is: a column, or None for the Kafka timestamp; and how late it may come."""

    column: str | None
    delay_ms: int
    format: str | None
    """A pattern in which a VARCHAR column holds it."""
    processing: bool = False
    """The time is that of the wall clock when a record is read; the column is not in the records."""


@dataclass(frozen=True, slots=True)
class Source:
    """A topic as declared by CREATE STREAM, or CREATE TABLE without a primary key."""

    name: str
    topic: str
    columns: tuple[SourceColumn, ...]
    event_time: EventTime
    partitions: int | None
    replicas: int | None
    key_format: str
    start_from: str

    @property
    def stored_columns(self) -> tuple[SourceColumn, ...]:
        """The columns that records hold."""
        computed = self.event_time.column if self.event_time.processing else None
        return tuple(column for column in self.columns if column.name != computed)


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """The rows of a source."""

    source: Source

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(column.column for column in self.source.columns)


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """Rows for which the predicate is TRUE."""

    input: Node
    predicate: Expr

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.input.columns


@dataclass(frozen=True, slots=True, eq=False)
class Project:
    """A row of expressions for each row."""

    input: Node
    items: tuple[tuple[str, Expr], ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(Column(name, expr.type, expr.nullable) for name, expr in self.items)


@dataclass(frozen=True, slots=True, eq=False)
class Aggregate:
    """A row for each group (and window): its keys, window_start and window_end, and the aggregate calls."""

    input: Node
    keys: tuple[tuple[str, Expr], ...]
    window: Window | None
    calls: tuple[tuple[str, AggregateCall], ...]
    emit: Emit
    changes: Changes
    ttl_ms: int | None
    """How long after its newest row a group goes on; None: for ever, or until its window closes."""
    every_ms: int | None = None
    """EMIT EVERY: wall time between two rows of a group."""

    @property
    def columns(self) -> tuple[Column, ...]:
        window = (WINDOW_START, WINDOW_END) if self.window else ()
        return (
            *(Column(name, expr.type, expr.nullable) for name, expr in self.keys),
            *(Column(name, TIMESTAMP, False) for name in window),
            *(Column(name, call.type, call.nullable) for name, call in self.calls),
        )


Node = Scan | Filter | Project | Aggregate


def inputs(node: Node) -> Iterator[Node]:
    """The nodes that feed a node."""
    if not isinstance(node, Scan):
        yield node.input


def scan_of(node: Node) -> Scan:
    """The source that a node's rows come from."""
    while not isinstance(node, Scan):
        node = node.input
    return node


def aggregate_of(node: Node) -> Aggregate | None:
    """The aggregation whose rows a node filters or projects; None where they are those of the source."""
    while isinstance(node, (Filter, Project)):
        node = node.input
    return node if isinstance(node, Aggregate) else None


def kept_keys(node: Node) -> frozenset[str]:
    """Names under which the source's KEY columns stand in a node's rows; none where the rows are grouped."""
    match node:
        case Scan():
            return frozenset(column.name for column in node.source.columns if column.key)
        case Filter():
            return kept_keys(node.input)
        case Project():
            inner = kept_keys(node.input)
            return frozenset(name for name, expr in node.items if isinstance(expr, Column) and expr.name in inner)
        case Aggregate():
            return frozenset()


def is_updating(node: Node) -> bool:
    """Whether rows replace earlier ones of the same key."""
    aggregate = aggregate_of(node)
    return aggregate is not None and aggregate.emit is Emit.CHANGES


@dataclass(frozen=True, slots=True)
class Sink:
    """Where a query's rows go."""

    name: str
    kind: RelationKind
    topic: str
    partitions: int | None
    replicas: int | None
    retention_ms: int | None
    key_columns: tuple[str, ...] | None
    """Names of the key's parts in the record key, for a grouped query; None: the key of the input is kept."""
    key_format: str
    key_in_value: bool
    timestamp_format: str | None


@dataclass(frozen=True, slots=True)
class Query:
    """One continuous query: a node and the sink of its rows."""

    name: str
    node: Node
    sink: Sink
    on_error: OnError
    late: Late


@dataclass(frozen=True, slots=True)
class LogicalPlan:
    """All queries of an app, in the order of the text."""

    queries: tuple[Query, ...]
    explained: tuple[Query, ...]
    """Queries under EXPLAIN: planned to be shown, not run."""
    views: tuple[tuple[str, Node], ...]
    """Names of rows without a sink."""
    settings: tuple[tuple[str, str], ...]
    """What SET changed."""

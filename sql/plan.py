"""The logical plan: what each query of an app computes. Nodes are immutable; queries share them by reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from headrace.sql.errors import Span
from headrace.sql.expressions import AggregateCall, Column, Expr, OverCall
from headrace.sql.formats import JSON, ValueFormat
from headrace.sql.record_parts import PSEUDO_COLUMNS, TIMESTAMP_COLUMN, Part, RecordPart
from headrace.sql.types import BIGINT, TIMESTAMP, Type, element_of
from headrace.sql.vocabulary import Emit, Late, OnError, RelationKind
from headrace.sql.windows import Window

WINDOW_START = "window_start"
WINDOW_END = "window_end"


class Changes(StrEnum):
    """Which changes of a group EMIT CHANGES writes."""

    EVERY = "every"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A declared column of a source."""

    name: str
    column: Column
    key: bool
    unsigned: bool
    quoted: bool
    part: RecordPart | None = None
    """The part of a record that it holds; None: it is in the value (or the record key)."""


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
    value_format: ValueFormat = JSON

    @property
    def stored_columns(self) -> tuple[SourceColumn, ...]:
        """The columns that records hold."""
        computed = self.event_time.column if self.event_time.processing else None
        return tuple(column for column in self.columns if column.name != computed)

    @property
    def value_fields(self) -> tuple[tuple[str, bool], ...]:
        """The columns that a value can hold, in their order, and whether each is KEY."""
        return tuple((column.name, column.key) for column in self.stored_columns if column.part is None)

    @property
    def pseudo_columns(self) -> tuple[SourceColumn, ...]:
        """The columns that no `*` shows; a declared column hides the one of its name."""
        declared = {column.name if column.quoted else column.name.lower() for column in self.columns}
        by_kafka = self.event_time.column is None
        return tuple(
            SourceColumn(
                pseudo.name,
                Column(pseudo.name, pseudo.type, pseudo.nullable),
                False,
                False,
                False,
                RecordPart(Part.TIME if by_kafka and pseudo.name == TIMESTAMP_COLUMN else pseudo.part),
            )
            for pseudo in PSEUDO_COLUMNS
            if not declared & {pseudo.name, pseudo.name.lower()}
            and not (self.event_time.processing and pseudo.part is Part.TIME)
        )


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
class Unnest:
    """A row for each element of ARRAYs, all at once: those that have fewer elements give NULL."""

    input: Node
    items: tuple[tuple[str, Expr], ...]
    keeps_empty: bool
    """A row without any element comes out once, with NULL."""

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*self.input.columns, *(Column(name, element_of(expr.type), True) for name, expr in self.items))


@dataclass(frozen=True, slots=True, eq=False)
class Aggregate:
    """A row for each group (and window): its keys, window_start and window_end, and the aggregate calls."""

    input: Node
    keys: tuple[tuple[str, Expr], ...]
    window: Window | None
    calls: tuple[tuple[str, AggregateCall], ...]
    emit: Emit
    changes: Changes | None
    """None: a group's row comes out once, when the group appears, so the rows are a stream (SELECT DISTINCT)."""
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


@dataclass(frozen=True, slots=True, eq=False)
class Over:
    """Every row, with calls over the rows of its partition in the order of event time (source partition, offset)."""

    input: Node
    keys: tuple[Column, ...]
    calls: tuple[tuple[str, OverCall], ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*self.input.columns, *(Column(name, call.type, call.nullable) for name, call in self.calls))

    @property
    def looks_ahead(self) -> bool:
        """A row waits for rows that follow it, and comes out later than its event time says."""
        return any(call.name == "LEAD" for _, call in self.calls)


@dataclass(frozen=True, slots=True)
class SortKey:
    """One entry of an ORDER BY."""

    column: Column
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True, eq=False)
class TopN:
    """The first rows of each partition in an order, and their numbers from 1.

    Rows that are equal in the order stand in that of event time, source partition and offset; the newest stands first
    where `newest_first`. `windowed`: the partitions are those of windows, and come out when their window has closed;
    else each change of a row of a number replaces what that number had.
    """

    input: Node
    keys: tuple[Column, ...]
    order: tuple[SortKey, ...]
    newest_first: bool
    number: str
    limit: int | None
    """None as long as no query around it has limited the numbers: such rows cannot be read."""
    windowed: bool
    changes: Changes

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*self.input.columns, Column(self.number, BIGINT, False))


@dataclass(frozen=True, slots=True, eq=False)
class Rekey:
    """The same rows, whose records have another key: PARTITION BY."""

    input: Node
    keys: tuple[Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.input.columns


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """The rows of all branches: UNION ALL. Their columns have the same names, and values of the same types."""

    branches: tuple[Node, ...]
    types: tuple[Type, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        together = zip(*(branch.columns for branch in self.branches), strict=True)
        return tuple(
            Column(same[0].name, type_, any(column.nullable for column in same))
            for same, type_ in zip(together, self.types, strict=True)
        )


Node = Scan | Filter | Project | Unnest | Aggregate | Over | TopN | Rekey | Union


def inputs(node: Node) -> Iterator[Node]:
    """The nodes that feed a node."""
    match node:
        case Scan():
            return
        case Union():
            yield from node.branches
        case _:
            yield node.input


def walk(node: Node) -> Iterator[Node]:
    """A node and all that feed it, also through others."""
    yield node
    for below in inputs(node):
        yield from walk(below)


def scans_of(node: Node) -> tuple[Scan, ...]:
    """The sources that a node's rows come from, each once."""
    return tuple({id(each): each for each in walk(node) if isinstance(each, Scan)}.values())


def walk_rows(node: Node) -> Iterator[Node]:
    """A node, and those below it as far as rows keep their record key: down to its origin."""
    yield node
    if isinstance(node, (Filter, Project, Unnest)):
        yield from walk_rows(node.input)


def is_unnested(node: Node) -> bool:
    """Whether several rows have the place of one record in the order of rows."""
    match node:
        case Unnest():
            return True
        case Filter() | Project() | Rekey() | Over() | Union():
            return any(map(is_unnested, inputs(node)))
    return False


def aggregate_of(node: Node) -> Aggregate | None:
    """The aggregation whose rows a node filters or projects; None where they are those of the source."""
    while isinstance(node, (Filter, Project, Unnest)):
        node = node.input
    return node if isinstance(node, Aggregate) else None


def origin_of(node: Node) -> Scan | Aggregate | Over | TopN | Rekey | Union:
    """The node whose rows a node filters or projects."""
    while isinstance(node, (Filter, Project, Unnest)):
        node = node.input
    return node


def kept_keys(node: Node) -> frozenset[str]:
    """Names under which the source's KEY columns stand in a node's rows; none where the rows are grouped."""
    match node:
        case Scan():
            return frozenset(column.name for column in node.source.columns if column.key)
        case Filter() | Unnest():
            return kept_keys(node.input)
        case Project():
            inner = kept_keys(node.input)
            return frozenset(name for name, expr in node.items if isinstance(expr, Column) and expr.name in inner)
        case Over() if not is_rekeyed(node):
            return kept_keys(node.input)
        case Union(branches=branches):
            return frozenset.intersection(*map(kept_keys, branches))
        case Aggregate() | Over() | TopN() | Rekey():
            return frozenset()


def is_updating(node: Node) -> bool:
    """Whether rows replace earlier ones of the same key."""
    match origin_of(node):
        case Aggregate(emit=emit, changes=changes):
            return emit is Emit.CHANGES and changes is not None
        case TopN(windowed=windowed):
            return not windowed
    return False


def looks_ahead(node: Node) -> bool:
    """Whether rows come later than their event time says (LEAD)."""
    match node:
        case Filter() | Project() | Unnest() | Rekey() | Union():
            return any(map(looks_ahead, inputs(node)))
    return isinstance(node, Over) and node.looks_ahead


def timed_by_arrival(node: Node) -> bool:
    """Whether the event time of rows is that of whichever came first (SELECT DISTINCT)."""
    match node:
        case Aggregate(changes=None, emit=Emit.CHANGES):
            return True
        case Filter() | Project() | Unnest() | Rekey() | Union() | Aggregate(window=None):
            return any(map(timed_by_arrival, inputs(node)))
    return False


def key_parts(node: Node) -> tuple[tuple[str, Type], ...] | None:
    """Names and types of the record key's parts, as far as the rows are not the source's and keep its key (None)."""
    match origin_of(node):
        case Scan():
            return None
        case Aggregate(keys=keys, window=window):
            bounds = (WINDOW_START, WINDOW_END) if window is not None else ()
            return (*((name, expr.type) for name, expr in keys), *((name, TIMESTAMP) for name in bounds))
        case Over() as over:
            if not is_rekeyed(over):
                return key_parts(over.input)
            return tuple((column.name, column.type) for column in over.keys)
        case TopN() as top:
            number = () if top.limit == 1 else ((top.number, BIGINT),)
            return (*((column.name, column.type) for column in top.keys), *number)
        case Rekey(keys=columns):
            return tuple((column.name, column.type) for column in columns)
        case Union(branches=branches):
            return key_parts(branches[0])


# Which rows are in one partition

Placement = frozenset[str] | None
"""Columns such that rows equal in them are in one partition; empty: all rows are in one; None: nothing is known."""


def placement(node: Node) -> Placement:
    """Where a node's rows are, in mode partitioned."""
    match node:
        case Scan():
            return kept_keys(node) or None
        case Filter() | Unnest():
            return placement(node.input)
        case Project():
            return placed_through(node, placement(node.input))
        case Aggregate():
            below = placement(node.input)
            columns = {expr.name: name for name, expr in node.keys if isinstance(expr, Column)}
            if below is None or not below <= columns.keys():
                return frozenset(name for name, _ in node.keys)
            return frozenset(columns[name] for name in below)
        case Over() | TopN():
            keys = frozenset(column.name for column in node.keys)
            below = placement(node.input)
            return keys if below is None or not below <= keys else below
        case Rekey() | Union():  # with these, record keys and rows begin anew
            return None


def placed_through(node: Project, below: Placement) -> Placement:
    """Where projected rows are: the names under which the columns go on."""
    if not below:
        return below
    names = {expr.name: name for name, expr in node.items if isinstance(expr, Column)}
    return frozenset(names[column] for column in below) if all(column in names for column in below) else None


def is_rekeyed(node: Over | TopN) -> bool:
    """Whether rows must be brought together to be partitioned so; then their partition is the key of their records."""
    below = placement(node.input)
    return below is None or not below <= {column.name for column in node.keys}


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
    value_format: ValueFormat = JSON


@dataclass(frozen=True, slots=True)
class Query:
    """One continuous query: a node and the sink of its rows."""

    name: str
    node: Node
    sink: Sink
    on_error: OnError
    late: Late


def value_columns(node: Node, sink: Sink) -> tuple[Column, ...]:
    """The columns of a query's rows that are in the values of its records."""
    in_key = kept_keys(node) if sink.key_columns is None else sink.key_columns
    hidden = frozenset() if sink.key_in_value else frozenset(in_key)
    return tuple(column for column in node.columns if column.name not in hidden)


@dataclass(frozen=True, slots=True)
class InsertedRecord:
    """A record of a source, as INSERT INTO … VALUES has it: a JSON object, and the time of the record."""

    value: bytes
    timestamp: int
    span: Span


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT INTO … VALUES."""

    source: Source
    records: tuple[InsertedRecord, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Listing:
    """A table of text that SHOW or DESCRIBE asks for."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


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
    listings: tuple[Listing, ...]
    """What SHOW and DESCRIBE tell, of the statements above them."""
    inserts: tuple[Insert, ...] = ()
    """Records that are part of the text, in its order: for finite runs."""

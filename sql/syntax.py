"""What the parser makes of SQL text: frozen statements and expressions, each with its place in the text.

Nothing here is resolved: names are names, types are spelled as declared. The binder gives them meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from headrace.sql.errors import Span
from headrace.sql.record_parts import RecordPart
from headrace.sql.types import Type
from headrace.sql.vocabulary import Emit, FrameUnit, Match, RelationKind

T = TypeVar("T")


def in_halves(parts: Sequence[T], join: Callable[[T, T], T]) -> T:
    """Parts joined two by two, in their order: as deep as the logarithm of their number."""
    if len(parts) == 1:
        return parts[0]
    middle = (len(parts) + 1) // 2
    return join(in_halves(parts[:middle], join), in_halves(parts[middle:], join))


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name as written; unquoted names match without regard to case."""

    text: str
    quoted: bool
    span: Span

    def matches(self, name: str) -> bool:
        return self.text == name if self.quoted else self.text.lower() == name.lower()


# Expressions


@dataclass(frozen=True, slots=True)
class Name:
    """A column reference, perhaps qualified by its relation."""

    column: Identifier
    qualifier: Identifier | None
    span: Span


@dataclass(frozen=True, slots=True)
class Star:
    """`*` or `t.*`; perhaps EXCEPT (names), REPLACE (expressions AS names), RENAME (names AS names)."""

    qualifier: Identifier | None
    without: tuple[Identifier, ...]
    replaced: tuple[tuple[Identifier, Expression], ...]
    renamed: tuple[tuple[Identifier, Identifier], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class StringLiteral:
    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class BooleanLiteral:
    value: bool
    span: Span


@dataclass(frozen=True, slots=True)
class NullLiteral:
    span: Span


@dataclass(frozen=True, slots=True)
class IntervalLiteral:
    milliseconds: int
    span: Span


@dataclass(frozen=True, slots=True)
class MonthsLiteral:
    """An INTERVAL of months and years."""

    months: int
    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    """`NOT x`, `-x`."""

    operator: str
    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, comparison, AND, OR and `||`."""

    operator: str
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class IsNull:
    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class IsTruth:
    """`x IS TRUE`, `x IS FALSE`."""

    operand: Expression
    value: bool
    span: Span


@dataclass(frozen=True, slots=True)
class IsDistinct:
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Between:
    operand: Expression
    low: Expression
    high: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class InList:
    operand: Expression
    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Like:
    """Any of the operators."""

    operand: Expression
    pattern: Expression
    escape: Expression | None
    match: Match
    span: Span


@dataclass(frozen=True, slots=True)
class Case:
    subject: Expression | None
    branches: tuple[tuple[Expression, Expression], ...]
    default: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Cast:
    operand: Expression
    type: Type
    on_error_null: bool
    span: Span


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call by name; `star` is COUNT(*)."""

    name: str
    arguments: tuple[Expression, ...]
    distinct: bool
    star: bool
    span: Span
    order_by: tuple[OrderItem, ...] = ()
    """ORDER BY within an aggregate, or WITHIN GROUP behind it."""
    within_group: bool = False
    filter: Expression | None = None
    """FILTER (WHERE …) behind an aggregate."""


@dataclass(frozen=True, slots=True)
class FieldAccess:
    """A part by name: `a -> b`, `(a).b`."""

    operand: Expression
    field: Identifier
    span: Span


@dataclass(frozen=True, slots=True)
class ElementAccess:
    """A part by position or key: `a[1]`, `m['k']`; of JSON also `j -> 'k'`, and as text `j ->> 'k'`."""

    operand: Expression
    index: Expression
    operator: str
    span: Span


@dataclass(frozen=True, slots=True)
class Assignment:
    """`name := value` among the arguments of STRUCT, `key := value` among those of MAP."""

    target: Expression
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Lambda:
    """`(x, y) => body`."""

    parameters: tuple[Identifier, ...]
    body: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class EmitClause:
    emit: Emit
    every_ms: int | None
    """EMIT EVERY: milliseconds of wall time between two rows of a group."""
    span: Span


class WindowKind(StrEnum):
    TUMBLING = "TUMBLING"
    HOPPING = "HOPPING"
    CUMULATING = "CUMULATING"
    SESSION = "SESSION"


WINDOW_FUNCTIONS = {
    "TUMBLE": WindowKind.TUMBLING,
    "HOP": WindowKind.HOPPING,
    "CUMULATE": WindowKind.CUMULATING,
    "SESSION": WindowKind.SESSION,
}
"""The kinds by the functions that make them in GROUP BY and FROM."""


@dataclass(frozen=True, slots=True)
class WindowClause:
    """A window as written, in whichever dialect."""

    kind: WindowKind
    time: Expression | None
    """None: the source's event time."""
    size_ms: int
    """For a session, its gap."""
    step_ms: int
    """HOPPING: from one start to the next; CUMULATING: from one end to the next; else 0."""
    offset_ms: int
    zone: StringLiteral | None
    grace_ms: int
    partition_by: tuple[Identifier, ...] | None
    """What Flink's window function in FROM partitions by; None in other forms."""
    span: Span


@dataclass(frozen=True, slots=True)
class FrameClause:
    """`ROWS BETWEEN n PRECEDING AND CURRENT ROW`; `preceding` in rows, or milliseconds; None: UNBOUNDED."""

    unit: FrameUnit
    preceding: int | None
    span: Span


@dataclass(frozen=True, slots=True)
class OrderItem:
    """One entry of ORDER BY."""

    expression: Expression
    descending: bool
    nulls_first: bool
    span: Span


@dataclass(frozen=True, slots=True)
class OverClause:
    """What stands behind OVER, or behind a name in WINDOW. `base` is the name of a window that it builds on."""

    base: Identifier | None
    buffer_rows: int | None
    """Velostream's `ROWS WINDOW BUFFER n ROWS`."""
    partition_by: tuple[Expression, ...]
    order_by: tuple[OrderItem, ...]
    frame: FrameClause | None
    span: Span


@dataclass(frozen=True, slots=True)
class OverCall:
    """A function over the rows around a row."""

    call: FunctionCall
    over: OverClause
    span: Span


Expression = (
    Name
    | Star
    | NumberLiteral
    | StringLiteral
    | BooleanLiteral
    | NullLiteral
    | IntervalLiteral
    | MonthsLiteral
    | Unary
    | Binary
    | IsNull
    | IsTruth
    | IsDistinct
    | Between
    | InList
    | Like
    | Case
    | Cast
    | FunctionCall
    | FieldAccess
    | ElementAccess
    | Assignment
    | Lambda
    | WindowClause
    | OverCall
)

# Queries


@dataclass(frozen=True, slots=True)
class TableReference:
    """FROM: a relation by name, perhaps through a window function of Flink or RisingWave; or a query."""

    relation: Identifier | SelectQuery
    alias: Identifier | None
    columns: tuple[Identifier, ...]
    """Other names for the columns: `t (a, b)`. Empty: they keep theirs."""
    window: WindowClause | None
    span: Span


@dataclass(frozen=True, slots=True)
class Unnesting:
    """`CROSS JOIN UNNEST(array) AS t (x)`: a row for each element."""

    arrays: tuple[Expression, ...]
    alias: Identifier | None
    columns: tuple[Identifier, ...]
    ordinality: Identifier | None
    """WITH ORDINALITY: the name of the column that numbers the elements."""
    keeps_empty: bool
    """LEFT JOIN: a row without elements stays."""
    span: Span


@dataclass(frozen=True, slots=True)
class CommonTable:
    """`WITH name (columns) AS (SELECT …)`."""

    name: Identifier
    columns: tuple[Identifier, ...]
    query: SelectQuery


@dataclass(frozen=True, slots=True)
class SelectItem:
    expression: Expression
    alias: Identifier | None
    span: Span


@dataclass(frozen=True, slots=True)
class Select:
    commons: tuple[CommonTable, ...]
    distinct: bool
    items: tuple[SelectItem, ...]
    source: TableReference
    unnestings: tuple[Unnesting, ...]
    where: Expression | None
    group_by: tuple[Expression, ...] | None
    having: Expression | None
    window: WindowClause | None
    windows: tuple[tuple[Identifier, OverClause], ...]
    """`WINDOW name AS (…)`."""
    partition_by: tuple[Expression, ...]
    """What the records of the result have as their key; empty: what they have without that."""
    qualify: Expression | None
    """A condition over the results of OVER."""
    emit: EmitClause | None
    span: Span


@dataclass(frozen=True, slots=True)
class Union:
    """The rows of several queries; `distinct`: without those that were there before."""

    commons: tuple[CommonTable, ...]
    branches: tuple[SelectQuery, ...]
    distinct: bool
    span: Span


SelectQuery = Select | Union


def selects_of(query: SelectQuery) -> tuple[Select, ...]:
    """The SELECT of a query, or those that it unites."""
    if isinstance(query, Select):
        return (query,)
    return tuple(select for branch in query.branches for select in selects_of(branch))


# Statements


class Existing(StrEnum):
    """What a CREATE does with a relation that has its name."""

    REFUSE = "REFUSE"
    REPLACE = "OR REPLACE"
    KEEP = "IF NOT EXISTS"


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    name: Identifier
    type: Type
    key: bool
    not_null: bool
    unsigned: bool
    span: Span
    processing_time: bool = False
    """`name AS PROCTIME()`: no part of the records, but the wall time at which each is read."""
    part: RecordPart | None = None
    """`METADATA FROM …`, `HEADER('…')`: the part of a record that it holds."""


@dataclass(frozen=True, slots=True)
class WatermarkDefinition:
    """`WATERMARK FOR column AS column - delay`."""

    column: Identifier
    delay_ms: int
    span: Span


@dataclass(frozen=True, slots=True)
class Option:
    """One entry of WITH (…), or of SET."""

    key: str
    value: str
    span: Span
    value_span: Span
    quoted: bool = True
    """Whether the value is a text in quotes, and no word or number."""


@dataclass(frozen=True, slots=True)
class CreateRelation:
    kind: RelationKind
    name: Identifier
    columns: tuple[ColumnDefinition, ...]
    primary_key: bool
    """A PRIMARY KEY was declared."""
    watermark: WatermarkDefinition | None
    options: tuple[Option, ...]
    existing: Existing
    span: Span


@dataclass(frozen=True, slots=True)
class CreateAs:
    kind: RelationKind
    name: Identifier
    options: tuple[Option, ...]
    query: SelectQuery
    existing: Existing
    span: Span


@dataclass(frozen=True, slots=True)
class CreateView:
    """A query by name, without a sink."""

    name: Identifier
    columns: tuple[Identifier, ...]
    query: SelectQuery
    existing: Existing
    span: Span


@dataclass(frozen=True, slots=True)
class Drop:
    """DROP of what a statement above has made."""

    kind: RelationKind | None
    """None: a view."""
    name: Identifier
    if_exists: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Show:
    """SHOW STREAMS, TABLES, VIEWS, QUERIES or TOPICS."""

    subject: str
    span: Span


@dataclass(frozen=True, slots=True)
class Describe:
    name: Identifier
    span: Span


@dataclass(frozen=True, slots=True)
class InsertInto:
    target: Identifier
    columns: tuple[Identifier, ...] | None
    query: SelectQuery
    span: Span


@dataclass(frozen=True, slots=True)
class ValuesRow:
    """One row of VALUES."""

    values: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class InsertValues:
    """Records of a source, written out."""

    target: Identifier
    columns: tuple[Identifier, ...] | None
    rows: tuple[ValuesRow, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class AssertValues:
    """The next records of a sink, for `headrace test`."""

    target: Identifier
    columns: tuple[Identifier, ...] | None
    rows: tuple[ValuesRow, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class AssertTombstones:
    """The next records of a sink, which are tombstones: `ASSERT NULL VALUES name (key columns) KEY (…)`."""

    target: Identifier
    columns: tuple[Identifier, ...] | None
    rows: tuple[ValuesRow, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class AssertRelation:
    """What a stream or table is like: `ASSERT STREAM name (columns) WITH (…)`."""

    wanted: CreateRelation
    span: Span


@dataclass(frozen=True, slots=True)
class RunScript:
    """`RUN SCRIPT 'file'`: the statements of another file, for `headrace test`."""

    file: StringLiteral
    span: Span


@dataclass(frozen=True, slots=True)
class Query:
    """A bare SELECT: its sink is the terminal."""

    query: SelectQuery
    span: Span


@dataclass(frozen=True, slots=True)
class SetOption:
    option: Option
    span: Span


@dataclass(frozen=True, slots=True)
class Explain:
    query: SelectQuery
    span: Span


Create = CreateRelation | CreateAs | CreateView
Assertion = AssertValues | AssertTombstones | AssertRelation
Statement = (
    Create | Drop | InsertInto | InsertValues | Query | SetOption | Explain | Show | Describe | Assertion | RunScript
)

"""The physical plan: an app cut into stages where the key changes, each stage a tree of operators that push rows on.

A stage is everything that reads the same partitions with no repartition topic between. Operators hold their consumers,
because that is how the generated code runs: a row is made and handed on at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard

from headrace.sql import plan as p
from headrace.sql.expressions import AggregateCall, Column, Expr, OverCall, columns_of
from headrace.sql.windows import Window


class Mode(StrEnum):
    """How an app is laid out: one task over everything (V1), or a task for each partition (V2)."""

    SINGLE = "single"
    PARTITIONED = "partitioned"


class Form(StrEnum):
    """What an aggregation takes in and gives out."""

    COMPLETE = "complete"  # rows in, results out
    PARTIAL = "partial"  # rows in, partial aggregates out
    MERGE = "merge"  # partial aggregates in, results out


class Emission(StrEnum):
    """When the results of an aggregation go out."""

    FINAL = "final"  # when the window closes, or at the end of a finite run
    FIRST = "first"  # at the first row of the group, and never again
    EVERY = "every"  # at each row
    LATEST = "latest"  # at each commit, those that changed
    INTERVAL = "interval"  # some time after they changed, once for all changes until then


@dataclass(frozen=True, slots=True, eq=False)
class FilterOp:
    predicate: Expr
    consumers: tuple[Operator, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ProjectOp:
    items: tuple[tuple[str, Expr], ...]
    consumers: tuple[Operator, ...]


@dataclass(frozen=True, slots=True, eq=False)
class UnnestOp:
    """Rows for the elements of ARRAYs."""

    items: tuple[tuple[str, Expr], ...]
    keeps_empty: bool
    consumers: tuple[Operator, ...]


@dataclass(frozen=True, slots=True, eq=False)
class AggregateOp:
    """An aggregation in one form. `number` tells its state from others' in the stage's store."""

    keys: tuple[tuple[str, Expr], ...]
    window: Window | None
    calls: tuple[tuple[str, AggregateCall], ...]
    final: bool
    changes: p.Changes | None
    ttl_ms: int | None
    every_ms: int | None
    form: Form
    number: int
    query: p.Query
    """The first query that it serves: late rows and errors are counted under its name."""
    consumers: tuple[Operator, ...]

    @property
    def emission(self) -> Emission:
        if self.final:
            return Emission.FINAL
        if self.every_ms is not None:
            return Emission.INTERVAL
        return Emission.FIRST if self.changes is None else Emission(self.changes)


@dataclass(frozen=True, slots=True, eq=False)
class OverOp:
    """Rows wait until the watermark has passed them, then meet the calls in their order.

    `number` is that of the first of its states. `rekeyed`: the partition of a row is the key of its record.
    """

    keys: tuple[Column, ...]
    calls: tuple[tuple[str, OverCall], ...]
    rekeyed: bool
    number: int
    query: p.Query
    consumers: tuple[Operator, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TopOp:
    """The first `limit` rows of each partition; `windowed`: of each partition of a window, when it has closed."""

    keys: tuple[Column, ...]
    order: tuple[p.SortKey, ...]
    newest_first: bool
    name: str
    """The column of the rows' numbers."""
    limit: int
    windowed: bool
    changes: p.Changes
    number: int
    query: p.Query
    consumers: tuple[Operator, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RekeyOp:
    """Rows whose records have these columns as their key."""

    keys: tuple[Column, ...]
    consumers: tuple[Operator, ...]


@dataclass(frozen=True, slots=True, eq=False)
class BranchOp:
    """Rows of one branch of a UNION: where they come from is told by its number first."""

    number: int
    consumers: tuple[Operator, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SinkOp:
    query: p.Query


@dataclass(frozen=True, slots=True, eq=False)
class RowsToExchange:
    """Rows for an aggregation in another stage: its keys and the operands of its calls, computed here."""

    exchange: Exchange
    keys: tuple[tuple[str, Expr], ...]
    operands: tuple[tuple[str, Expr], ...]
    window: Window | None
    ttl_ms: int | None
    ordered: bool
    """The order of rows crosses with them (FIRST_VALUE, LAST_VALUE)."""
    query: p.Query
    timed: bool = False
    """Rows are late that are older than the watermark."""


@dataclass(frozen=True, slots=True, eq=False)
class PartialsToExchange:
    """Partial aggregates for the same aggregation in another stage."""

    exchange: Exchange


Operator = (
    FilterOp
    | ProjectOp
    | UnnestOp
    | AggregateOp
    | OverOp
    | TopOp
    | RekeyOp
    | BranchOp
    | SinkOp
    | RowsToExchange
    | PartialsToExchange
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A repartition topic that a stage reads, named by it. The rows of a UNION come through one from each branch."""

    stage: str
    partials: bool
    branch: int = 0
    branches: int = 1


@dataclass(frozen=True, slots=True)
class SourceInput:
    """Records of a source topic, decoded once for all consumers."""

    source: p.Source
    columns: tuple[p.SourceColumn, ...]
    """The columns that some consumer or the event time needs."""


@dataclass(frozen=True, slots=True)
class ExchangeInput:
    """Blocks of rows or partial aggregates from another stage."""

    exchange: Exchange
    senders: tuple[str, ...]
    """The stage that sends; for the rows of a UNION, that of each branch."""
    rows: tuple[Column, ...]
    """Columns of the rows; for partial aggregates, of the keys."""
    ordered: bool


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    input: SourceInput | ExchangeInput
    consumers: tuple[Operator, ...]

    @property
    def stateful(self) -> bool:
        return bool(self.keepers)

    @property
    def keepers(self) -> tuple[AggregateOp | OverOp | TopOp, ...]:
        """The operators that keep state."""
        return tuple(filter(_is_stateful, walk(self.consumers)))

    @property
    def timed(self) -> bool:
        """Whether state ends with time: windows close, groups expire, rows have waited for their order."""
        return any(map(_is_timed, self.keepers))


@dataclass(frozen=True, slots=True)
class PhysicalPlan:
    mode: Mode
    stages: tuple[Stage, ...]
    """Each after those that feed it."""
    queries: tuple[p.Query, ...]


def consumers_of(operator: Operator) -> tuple[Operator, ...]:
    match operator:
        case SinkOp() | RowsToExchange() | PartialsToExchange():
            return ()
        case _:
            return operator.consumers


def _is_stateful(operator: Operator) -> TypeGuard[AggregateOp | OverOp | TopOp]:
    match operator:
        case AggregateOp(form=form):
            return form is not Form.PARTIAL
        case OverOp() | TopOp():
            return True
        case _:
            return False


def _is_timed(operator: Operator) -> bool:
    match operator:
        case AggregateOp(window=window, ttl_ms=ttl_ms):
            return window is not None or ttl_ms is not None
        case OverOp():
            return True
        case TopOp(windowed=windowed):
            return windowed
        case _:
            return False


def walk(operators: tuple[Operator, ...]) -> Iterator[Operator]:
    """Operators and all that consume their rows, a producer before its consumers."""
    for operator in operators:
        yield operator
        yield from walk(consumers_of(operator))


def needed(operator: Operator) -> Iterator[Column]:
    """Columns of its input that an operator, or those behind it, read."""
    match operator:
        case FilterOp():
            yield from columns_of(operator.predicate)
            for consumer in operator.consumers:
                yield from needed(consumer)
        case ProjectOp():
            wanted = {column.name for consumer in operator.consumers for column in needed(consumer)}
            for name, expr in operator.items:
                if name in wanted:
                    yield from columns_of(expr)
        case UnnestOp():
            for _, expr in operator.items:
                yield from columns_of(expr)
            yield from _needed_behind(operator.consumers, {name for name, _ in operator.items})
        case AggregateOp(form=Form.MERGE):
            return
        case AggregateOp():
            for _, key in operator.keys:
                yield from columns_of(key)
            for _, call in operator.calls:
                for expr in call.inputs:
                    yield from columns_of(expr)
        case RekeyOp():
            yield from operator.keys
            for consumer in operator.consumers:
                yield from needed(consumer)
        case BranchOp():
            for consumer in operator.consumers:
                yield from needed(consumer)
        case OverOp():
            yield from operator.keys
            for _, over in operator.calls:
                yield from over.columns
            made = {name for name, _ in operator.calls}
            yield from _needed_behind(operator.consumers, made)
        case TopOp():
            yield from (*operator.keys, *(key.column for key in operator.order))
            yield from _needed_behind(operator.consumers, {operator.name})
        case RowsToExchange():
            for _, expr in (*operator.keys, *operator.operands):
                yield from columns_of(expr)
        case SinkOp():
            yield from operator.query.node.columns
        case PartialsToExchange():
            return


def _needed_behind(consumers: tuple[Operator, ...], made: set[str]) -> Iterator[Column]:
    """Columns that consumers read, but for those that were made for them."""
    for consumer in consumers:
        yield from (column for column in needed(consumer) if column.name not in made)

"""Bound expressions: names resolved to columns, functions to registry entries, every node with its type.

Frozen and compared by structure, so that `GROUP BY a + 1` and `SELECT a + 1` are seen to be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields, replace
from dataclasses import field as declared
from decimal import Decimal
from typing import TYPE_CHECKING

from headrace.sql.types import BOOLEAN, Type
from headrace.sql.vocabulary import Direction, FrameUnit

if TYPE_CHECKING:
    from headrace.sql.functions.accumulators import AggregateFunction, Aggregation, Constant
    from headrace.sql.functions.registry import Signature

LiteralValue = bool | int | float | Decimal | str | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the input relation."""

    name: str
    type: Type
    nullable: bool


@dataclass(frozen=True, slots=True)
class Literal:
    value: LiteralValue
    type: Type

    @property
    def nullable(self) -> bool:
        return self.value is None


class BareNull(Literal):
    """A NULL of no type as a column of a result: a VARCHAR, unless a UNION makes it something else."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`+ - * / %` of two operands of one type."""

    operator: str
    left: Expr
    right: Expr
    type: Type

    @property
    def nullable(self) -> bool:
        return self.left.nullable or self.right.nullable


@dataclass(frozen=True, slots=True)
class Comparison:
    """`= <> < <= > >=` of two operands of one type."""

    operator: str
    left: Expr
    right: Expr

    @property
    def type(self) -> Type:
        return BOOLEAN

    @property
    def nullable(self) -> bool:
        return self.left.nullable or self.right.nullable


@dataclass(frozen=True, slots=True)
class Logical:
    """AND or OR."""

    operator: str
    left: Expr
    right: Expr

    @property
    def type(self) -> Type:
        return BOOLEAN

    @property
    def nullable(self) -> bool:
        return self.left.nullable or self.right.nullable


@dataclass(frozen=True, slots=True)
class Not:
    operand: Expr

    @property
    def type(self) -> Type:
        return BOOLEAN

    @property
    def nullable(self) -> bool:
        return self.operand.nullable


@dataclass(frozen=True, slots=True)
class IsNull:
    operand: Expr
    nullable: bool = False

    @property
    def type(self) -> Type:
        return BOOLEAN


@dataclass(frozen=True, slots=True)
class IsTruth:
    """`x IS TRUE` or `x IS FALSE`."""

    operand: Expr
    value: bool
    nullable: bool = False

    @property
    def type(self) -> Type:
        return BOOLEAN


@dataclass(frozen=True, slots=True)
class IsDistinct:
    """`IS DISTINCT FROM`: inequality in which NULL is a value."""

    left: Expr
    right: Expr
    nullable: bool = False

    @property
    def type(self) -> Type:
        return BOOLEAN


@dataclass(frozen=True, slots=True)
class InValues:
    """Membership in constants; `has_null` where NULL is one of them."""

    operand: Expr
    values: tuple[LiteralValue, ...]
    has_null: bool

    @property
    def type(self) -> Type:
        return BOOLEAN

    @property
    def nullable(self) -> bool:
        return self.operand.nullable or self.has_null


@dataclass(frozen=True, slots=True)
class Like:
    """LIKE with a constant pattern."""

    operand: Expr
    pattern: str
    escape: str | None
    case_sensitive: bool

    @property
    def type(self) -> Type:
        return BOOLEAN

    @property
    def nullable(self) -> bool:
        return self.operand.nullable


@dataclass(frozen=True, slots=True)
class Case:
    """Searched CASE; `default` NULL where there is no ELSE."""

    branches: tuple[tuple[Expr, Expr], ...]
    default: Expr
    type: Type

    @property
    def nullable(self) -> bool:
        return self.default.nullable or any(value.nullable for _, value in self.branches)


@dataclass(frozen=True, slots=True)
class Coalesce:
    """The first operand that is not NULL."""

    operands: tuple[Expr, ...]
    type: Type

    @property
    def nullable(self) -> bool:
        return all(operand.nullable for operand in self.operands)


@dataclass(frozen=True, slots=True)
class Cast:
    """A conversion; `on_error_null` is TRY_CAST."""

    operand: Expr
    type: Type
    on_error_null: bool

    @property
    def nullable(self) -> bool:
        return self.operand.nullable or self.on_error_null


@dataclass(frozen=True, slots=True)
class Call:
    """A scalar function of the registry over operands of its signature's types."""

    name: str
    signature: Signature
    operands: tuple[Expr, ...]
    type: Type

    @property
    def nullable(self) -> bool:
        if self.signature.sees_null:
            return self.signature.may_be_null
        if self.signature.skips_null:
            return all(operand.nullable for operand in self.operands)
        return self.signature.may_be_null or any(operand.nullable for operand in self.operands)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a STRUCT."""

    operand: Expr
    name: str
    type: Type
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class MakeStruct:
    """A STRUCT of the values of its fields."""

    values: tuple[Expr, ...]
    type: Type
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Shared:
    """A place of the operand of the innermost `With` around it; nothing stands below it."""

    type: Type
    nullable: bool
    shown: Expr = declared(compare=False, repr=False)
    """The operand as it was written."""


@dataclass(frozen=True, slots=True)
class With:
    """An expression with an operand in several places, which is computed once, and first."""

    operand: Expr
    body: Expr

    @property
    def type(self) -> Type:
        return self.body.type

    @property
    def nullable(self) -> bool:
        return self.body.nullable


@dataclass(frozen=True, slots=True)
class LambdaVariable:
    """A parameter of a lambda, within its body."""

    name: str
    type: Type
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Lambda:
    """`(x, y) => body`: what a function applies to the elements of its other operands."""

    parameters: tuple[LambdaVariable, ...]
    body: Expr
    nullable: bool = False

    @property
    def type(self) -> Type:
        return self.body.type


Expr = (
    Column
    | Literal
    | Arithmetic
    | Comparison
    | Logical
    | Not
    | IsNull
    | IsTruth
    | IsDistinct
    | InValues
    | Like
    | Case
    | Coalesce
    | Cast
    | Call
    | Field
    | MakeStruct
    | Shared
    | With
    | LambdaVariable
    | Lambda
)


@dataclass(frozen=True, slots=True)
class AggregateCall:
    """One aggregate function over the rows of a group; without operands it is COUNT(*)."""

    function: AggregateFunction
    operands: tuple[Expr, ...]
    constants: tuple[Constant, ...]
    distinct: bool
    keys: tuple[Expr, ...]
    """Of ORDER BY within the call."""
    directions: tuple[Direction, ...]
    """Of the keys; of a function whose operand stands in ORDER BY, that of the operand."""
    condition: Expr | None
    """Where an operand may be NULL, what is NULL for a row that FILTER leaves out."""
    aggregation: Aggregation = declared(compare=False)
    """What all of this makes of it."""

    @property
    def inputs(self) -> tuple[Expr, ...]:
        """All that is computed for a row: operands, keys and the condition."""
        return (*self.operands, *self.keys, *((self.condition,) if self.condition is not None else ()))

    def over(self, change: Callable[[Expr], Expr]) -> AggregateCall:
        """The call with changed inputs."""
        condition = change(self.condition) if self.condition is not None else None
        operands, keys = (tuple(map(change, exprs)) for exprs in (self.operands, self.keys))
        return replace(self, operands=operands, keys=keys, condition=condition)

    @property
    def type(self) -> Type:
        return self.aggregation.type

    @property
    def nullable(self) -> bool:
        return self.aggregation.nullable


@dataclass(frozen=True, slots=True)
class Frame:
    """The rows that a call looks at: its own (RANGE: and those of the same time), and those before it.

    `preceding` is how far before: rows, or milliseconds for RANGE; None: all.
    """

    unit: FrameUnit
    preceding: int | None


@dataclass(frozen=True, slots=True)
class OverCall:
    """One function over the rows of a partition in the order of event time: a window function, or an aggregate."""

    name: str
    aggregate: AggregateCall | None
    """Its inputs are columns."""
    operand: Column | None
    """Of a window function; None: over rows."""
    rows: int
    """LAG and LEAD: how many rows away; NTH_VALUE: the number of the row in the frame; else 0."""
    default: Column | Literal | None
    frame: Frame | None
    """None where all rows of the partition are seen."""
    type: Type
    nullable: bool

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that it reads."""
        parts = (self.operand, self.default, *(self.aggregate.inputs if self.aggregate is not None else ()))
        return tuple(part for part in parts if isinstance(part, Column))


def computed_once(operand: Expr, use: Callable[[Expr], Expr]) -> Expr:
    """An expression that uses an operand in several places."""
    if isinstance(operand, Column | Literal | LambdaVariable):
        return use(operand)
    return With(operand, use(Shared(operand.type, operand.nullable, operand)))


def free_name(name: str, taken: Collection[str]) -> str:
    """A name of ours that is no column's of the user."""
    while name in taken:
        name += "_"
    return name


def children(expression: Expr) -> Iterator[Expr]:
    """Direct operands of an expression."""
    if isinstance(expression, Shared):
        return
    for field in fields(expression):
        value = getattr(expression, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            for item in part if isinstance(part, tuple) else (part,):
                if isinstance(item, Expr):
                    yield item


def columns_of(expression: Expr) -> Iterator[Column]:
    """Every column an expression reads, in order, repeated where read again."""
    if isinstance(expression, Column):
        yield expression
    for child in children(expression):
        yield from columns_of(child)


def calls_of(expression: Expr) -> Iterator[Call]:
    """Every call of a function of the registry in an expression."""
    if isinstance(expression, Call):
        yield expression
    for child in children(expression):
        yield from calls_of(child)

"""What an aggregate function is: the accumulators that it keeps for a group, and a result over them.

An accumulator is one field of a group's state. Functions over the same operands share accumulators: AVG(x) and SUM(x)
keep one sum. To add an aggregate function, add an entry to the module of its family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from headrace.sql.functions.registry import Parameter, Signature
from headrace.sql.types import BOOLEAN, DOUBLE, INT, VARCHAR, Type
from headrace.sql.vocabulary import Direction

Constant = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Accumulator:
    """One field of a group's state, and lines of generated code over it.

    In the lines {f} is the field, {v} and {w} are the first two operands ({0}, {1}, … all of them), {o} is the order of
    the row, {g} the field of another state that is merged into this one. A mutable value of {g} is copied, not taken.
    A row with a NULL operand is not added, unless the operand is among `sees_null`.
    """

    kind: str
    """Accumulators of one kind over the same operands are one field."""
    update: tuple[str, ...]
    merge: tuple[str, ...]
    storage: Any = int
    """The type in which msgspec encodes the field; a class of Opaque encodes itself."""
    initial: Any = 0
    """Its first value; of a mutable one, the function that makes it."""
    retract: tuple[str, ...] = ()
    """Lines that take a value out again, exactly; none where that cannot be done."""
    names: Mapping[str, Any] = field(default_factory=dict)
    """What the lines call by {name}: functions, and constants."""
    ordered: bool = False
    """Needs the order of rows: (event time, source partition, offset)."""
    sees_null: tuple[int, ...] = ()
    wide: bool = False
    """An integer without bound."""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What one call keeps, and its result."""

    type: Type
    accumulators: tuple[Accumulator, ...]
    result: str
    """Code over the accumulators, each called by its {kind}."""
    names: Mapping[str, Any] = field(default_factory=dict)
    """What the result calls by {name}: functions, and constants."""
    needs_value: bool = False
    """NULL where the accumulator `count` is 0, without a look at the result."""
    nullable: bool = True
    fails: bool = False
    """Making the result may raise RecordError."""
    keeps: str = ""
    """What the state of a user's own function holds: another state cannot be read as this one."""

    @property
    def ordered(self) -> bool:
        """Whether the result depends on the order of rows."""
        return any(accumulator.ordered for accumulator in self.accumulators)

    @property
    def retractable(self) -> bool:
        """Whether a row can be taken out again, to the last digit."""
        return all(accumulator.retract for accumulator in self.accumulators)


@dataclass(frozen=True, slots=True)
class Given:
    """What a call gives to its function: types of the operands, values of the constants, ORDER BY within the call.

    The keys of ORDER BY are the last operands.
    """

    types: tuple[Type, ...]
    constants: tuple[Constant, ...] = ()
    order: tuple[Direction, ...] = ()

    @property
    def type(self) -> Type:
        """That of the first operand."""
        return self.types[0]


@dataclass(frozen=True, slots=True)
class ConstantParameter:
    """A parameter that is a constant; a number within bounds."""

    name: str
    type: Type
    low: int = 0
    high: int = 0


COUNT_OF_ELEMENTS = ConstantParameter("n", INT, 1, 1000)
FRACTION = ConstantParameter("p", DOUBLE, 0, 1)
SEPARATOR = ConstantParameter("separator", VARCHAR)
IGNORE_NULLS = ConstantParameter("ignore_nulls", BOOLEAN)


@dataclass(frozen=True, slots=True)
class AggregateSignature:
    """One way to call an aggregate function: operands, then constants."""

    operands: tuple[Parameter, ...]
    keep: Callable[[Given], Aggregation | None]
    """None: it does not take operands of these types."""
    constants: tuple[ConstantParameter, ...] = ()
    check: Signature | None = None
    """A scalar call that the operands of a row go through before any state changes: it gives the first one back."""


class StateSize(StrEnum):
    """How the state of a group grows."""

    CONSTANT = "constant"
    SKETCH = "a sketch: up to some 40 kB"
    ELEMENTS = "n elements"
    DISTINCT = "grows with different values"
    ROWS = "grows with rows"
    OWN = "as its class says"


class OrderBy(StrEnum):
    """What ORDER BY within a call means to a function."""

    REFUSED = "refused"
    ELEMENTS = "elements"  # it orders the elements of the result
    OPERAND = "operand"  # WITHIN GROUP (ORDER BY x): x is the operand


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A call over rows, in their order, and its result as it stands in JSON."""

    call: str
    rows: tuple[Any, ...]
    """Values of x; or, of several columns, tuples of their values."""
    result: Any
    columns: str = "x INT"


@dataclass(frozen=True, slots=True, eq=False)
class AggregateFunction:
    """A function by all its names, with examples that are run as tests."""

    name: str
    aliases: tuple[str, ...]
    signatures: tuple[AggregateSignature, ...]
    doc: str
    state: StateSize = StateSize.CONSTANT
    distinct: tuple[AggregateSignature, ...] = ()
    """Those of a call with DISTINCT; the same as `signatures` where it says nothing, none where it is refused."""
    order_by: OrderBy = OrderBy.REFUSED
    mergeable: bool = True
    """States of parts of the rows can be merged; else all rows of a group are brought together first."""
    examples: tuple[Example, ...] = ()

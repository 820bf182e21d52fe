"""What a scalar function is: names, signatures, NULL rule, how it is written into generated code, doc and examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headrace.sql.types import Type

Parameter = Type | str
"""A type that the operand is converted to, or a class of types it must be of: number, integer, decimal, any."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a function.

    The generated code is `template` with the operands in place of {0}, {1}, …; `names` are bound beside it.
    NULL: any NULL operand makes NULL, unless `skips_null` (NULL only when all are).
    """

    parameters: tuple[Parameter, ...]
    returns: Type | None
    """None: the type of the operands (their common type)."""
    template: str
    names: tuple[Callable[..., object], ...] = ()
    optional: int = 0
    """How many of the last parameters may be left out."""
    variadic: bool = False
    """The last parameter may be repeated."""
    skips_null: bool = False
    may_be_null: bool = False
    fails: bool = False
    """Evaluating it may raise RecordError."""


@dataclass(frozen=True, slots=True)
class ScalarFunction:
    """A function by all its names, with examples that are run as tests: (call, result as SQL literal)."""

    name: str
    aliases: tuple[str, ...]
    signatures: tuple[Signature, ...]
    doc: str
    examples: tuple[tuple[str, str], ...]

"""What a scalar function is: names, signatures, NULL rule, how it is written into generated code, doc and examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headrace.sql.types import Type

Parameter = Type | str
"""A type that the operand is converted to; or a class of types that it must be of: number, integer, decimal, array,
map, struct, any, ordered (what has an order), zone (a VARCHAR that names a time zone); or what fits the first operand:
`same` its type, `element` what the ARRAY or MAP holds.
"""
Returns = Type | Callable[[tuple[Type, ...]], Type | None] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a function.

    The generated code is `template` with the operands in place of {0}, {1}, …, all of them in place of {*}; `names` are
    bound beside it. What comes from outside it reaches by `task`: `task.clock.now_ms`, which is when the record batch
    began to be processed, and `task.chance`. NULL: any NULL operand makes NULL, unless the signature `skips_null` or
    `sees_null`.
    """

    parameters: tuple[Parameter, ...]
    returns: Returns
    """A type, or what makes one of the types of the operands (None: the signature does not take them). None: their
    common type.
    """
    template: str
    names: tuple[Callable[..., object], ...] = ()
    optional: int = 0
    """How many of the last parameters may be left out."""
    variadic: bool = False
    """The last parameter may be repeated."""
    skips_null: bool = False
    """NULL only when all operands are: the template gets those that are not."""
    sees_null: bool = False
    """The template gets every operand, None for NULL; the result is NULL only where `may_be_null`."""
    may_be_null: bool = False
    fails: bool = False
    """Evaluating it may raise RecordError."""
    prepared: tuple[int, Callable[[str], object]] | None = None
    """An operand (its index) that the template gets as this function makes it: a pattern compiled, the name of a unit
    looked up. That is done once where the operand is constant, and what is wrong with it is told before the app runs.
    The function must be cached, and may raise RecordError.
    """

    @property
    def is_repeatable(self) -> bool:
        """Whether it makes the same of the same operands: of what comes from outside it reaches nothing."""
        return "task." not in self.template


@dataclass(frozen=True, slots=True)
class ScalarFunction:
    """A function by all its names, with examples that are run as tests: (call, result as SQL literal)."""

    name: str
    aliases: tuple[str, ...]
    signatures: tuple[Signature, ...]
    doc: str
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A function that is another expression by another name: the binder writes it out. `shown` is how it is called."""

    name: str
    aliases: tuple[str, ...]
    shown: str
    doc: str
    examples: tuple[tuple[str, str], ...]


def one(
    name: str, signature: Signature, doc: str, *examples: tuple[str, str], aliases: tuple[str, ...] = ()
) -> ScalarFunction:
    """A function with one signature."""
    return ScalarFunction(name, aliases, (signature,), doc, examples)

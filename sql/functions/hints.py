"""Type hints of a user's Python as SQL types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from inspect import Parameter, signature
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from headrace.sql.errors import SqlError, UdfError
from headrace.sql.functions.user_values import PYTHON_CLASSES, can_cross
from headrace.sql.parser import parse_type
from headrace.sql.types import (
    BIGINT,
    BOOLEAN,
    BYTES,
    DATE,
    DOUBLE,
    TIME,
    TIMESTAMP,
    VARCHAR,
    Type,
    array_type,
    map_type,
)

_TYPES: dict[object, Type] = {
    bool: BOOLEAN,
    int: BIGINT,
    float: DOUBLE,
    str: VARCHAR,
    bytes: BYTES,
    date: DATE,
    time: TIME,
    datetime: TIMESTAMP,
}
_KNOWN = (
    "bool, int, float, str, bytes, date, time, datetime, list[…] and dict[str, …] are known; "
    'Annotated[…, "…"] gives any other type its SQL name'
)


@dataclass(frozen=True, slots=True)
class Hinted:
    """The SQL type of a hint, and whether it may be NULL (`X | None`)."""

    type: Type
    nullable: bool


@dataclass(frozen=True, slots=True)
class Operands:
    """What a function takes by position."""

    hints: tuple[Hinted, ...]
    optional: int
    """How many of the last may be left out."""
    variadic: bool
    """The last may be repeated."""


class HintReader:
    """Reads the hints of one function or class; UdfError, with its name, for what SQL cannot take."""

    def __init__(self, name: str) -> None:
        self._name = name

    def error(self, what: str) -> UdfError:
        return UdfError(f"{self._name}: {what}")

    def hints_of(self, function: Callable[..., object] | type) -> dict[str, Any]:
        try:
            return get_type_hints(function, include_extras=True)
        except Exception as error:  # a hint is an expression of the user's: evaluating it may raise anything
            raise self.error(f"its type hints cannot be read: {error}") from error

    def operands(self, function: Callable[..., object], declared: tuple[str, ...] | None, *, first: int) -> Operands:
        """The parameters from number `first` on; `declared` are SQL types that stand for those of the hints."""
        parameters = list(signature(function).parameters.values())[first:]
        for parameter in parameters:
            if parameter.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD):
                raise self.error(f"parameter `{parameter.name}` has to be named, and SQL gives operands by position")
        if declared is not None and len(declared) != len(parameters):
            raise self.error(f"`parameters` has {len(declared)} types, the function {len(parameters)} parameters")
        hints = self.hints_of(function)
        read = tuple(
            self.read(hints.get(p.name), declared[number] if declared else None, f"parameter `{p.name}`")
            for number, p in enumerate(parameters)
        )
        variadic = bool(parameters) and parameters[-1].kind is Parameter.VAR_POSITIONAL
        defaults = sum(p.default is not Parameter.empty for p in parameters)
        return Operands(read, defaults + variadic, variadic)

    def read(self, hint: Any, declared: str | None, where: str) -> Hinted:
        """A hint (None: there is none), or the declared SQL type in its place, which must go with it."""
        bare, nullable = _without_none(hint)
        if declared is not None:
            return Hinted(self._declared(declared, bare, where), nullable)
        if hint is None:
            raise self.error(f"{where} has no type hint")
        return Hinted(self._type(bare, where), nullable)

    def _type(self, hint: Any, where: str) -> Type:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            bare, _ = _without_none(arguments[0])
            texts = [extra for extra in arguments[1:] if isinstance(extra, str)]
            return self._declared(texts[0], bare, where) if texts else self._type(bare, where)
        if hint in _TYPES:
            return _TYPES[hint]
        if hint is Decimal:
            raise self.error(
                f'{where} is a Decimal of no precision: write Annotated[Decimal, "DECIMAL(10, 2)"], with the digits '
                "in all and those after the point"
            )
        if origin is list and len(arguments) == 1:
            return array_type(self._type(_without_none(arguments[0])[0], where))
        if origin is dict and len(arguments) == 2 and arguments[0] is str:
            return map_type(self._type(_without_none(arguments[1])[0], where))
        shown = hint.__name__ if isinstance(hint, type) and not arguments else str(hint)
        raise self.error(f"{where} is {shown}, which is no type of SQL; {_KNOWN}")

    def _declared(self, text: str, hint: Any, where: str) -> Type:
        try:
            type_ = parse_type(text)
        except SqlError as error:
            message = error.problems[0].message.replace(" for column `c`", "")
            raise self.error(f"the type of {where}: {message}") from None
        if type_ is None:
            raise self.error(f"the type of {where}: `{text}` is not a type alone")
        if not can_cross(type_):
            raise self.error(f"{where} is {type_}, which cannot be given to Python")
        wanted = PYTHON_CLASSES[type_.kind]
        given = get_origin(hint) or hint
        if given not in (None, Any) and given is not wanted:
            raise self.error(
                f"{where} is {type_}, which is {wanted.__name__} in Python, and its hint says {_shown(given)}"
            )
        return type_


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _without_none(hint: Any) -> tuple[Any, bool]:
    """A hint without `| None`, and whether it had that."""
    if get_origin(hint) is Annotated:
        inner, nullable = _without_none(get_args(hint)[0])
        return (Annotated[inner, *hint.__metadata__], True) if nullable else (hint, False)
    if get_origin(hint) not in (Union, UnionType):
        return hint, False
    others = [part for part in get_args(hint) if part is not NoneType]
    if len(others) == len(get_args(hint)):
        return hint, False
    return (others[0] if len(others) == 1 else Union[tuple(others)]), True  # noqa: UP007

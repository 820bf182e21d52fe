"""A user's Python function as a scalar function: its operands converted, its result checked, its exceptions told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from types import FunctionType
from typing import Any

from headrace.sql.errors import RecordError
from headrace.sql.functions.hints import Hinted, HintReader, Operands
from headrace.sql.functions.registry import ScalarFunction, Signature
from headrace.sql.functions.user_values import from_python, to_python


def scalar_function(
    function: FunctionType, name: str, parameters: tuple[str, ...] | None, returns: str | None
) -> ScalarFunction:
    """The entry of a function, with its hints or the given SQL types. UdfError where SQL cannot call it."""
    reader = HintReader(name)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise reader.error("an async function or a generator does not give one value for a row")
    operands = reader.operands(function, parameters, first=0)
    result = reader.read(reader.hints_of(function).get("return"), returns, "the result")
    convert = operands_converter(operands)
    plain: Callable[..., Any] = function
    call = result_checked(name, plain if convert is None else lambda *given: plain(*convert(given)), result)
    sees_null = any(hinted.nullable for hinted in operands.hints)
    if sees_null:
        call = strict_in(call, operands)
    call.__name__ = f"udf_{name.lower()}"
    signature = Signature(
        tuple(hinted.type for hinted in operands.hints),
        result.type,
        f"{call.__name__}({'{*}' if operands.optional else places(len(operands.hints))})",
        (call,),
        optional=operands.optional,
        variadic=operands.variadic,
        sees_null=sees_null,
        may_be_null=result.nullable or (sees_null and not all(hinted.nullable for hinted in operands.hints)),
        fails=True,
    )
    return ScalarFunction(name, (), (signature,), inspect.getdoc(function) or "", ())


def places(count: int) -> str:
    """The operands of a template, by number."""
    return ", ".join(f"{{{number}}}" for number in range(count))


def operands_converter(operands: Operands) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    """What makes a user's values of those in memory; None where they are the same."""
    converts = [to_python(hinted.type) for hinted in operands.hints]
    if not any(converts):
        return None

    def convert_all(given: Sequence[Any]) -> Sequence[Any]:
        pairs = zip(given, chain(converts, repeat(converts[-1])), strict=False)
        return [value if value is None or convert is None else convert(value) for value, convert in pairs]

    return convert_all


def strict_in(function: Callable[..., Any], operands: Operands) -> Callable[..., Any]:
    """The function of which some operands may be NULL, and the others make NULL without a call."""
    sees_null = [hinted.nullable for hinted in operands.hints]
    if all(sees_null):
        return function

    def strict(*given: Any) -> Any:
        pairs = zip(given, chain(sees_null, repeat(sees_null[-1])), strict=False)
        return None if any(value is None and not sees for value, sees in pairs) else function(*given)

    return strict


def result_checked(name: str, function: Callable[..., Any], result: Hinted) -> Callable[..., Any]:
    """The function, of which a wrong result and every exception is a RecordError that names it."""
    accept = from_python(result.type)

    def checked(*given: Any) -> Any:
        try:
            value = function(*given)
            if value is None and not result.nullable:
                raise RecordError("udf", "returned None, and the hint of its result does not say `| None`")
            return None if value is None else accept(value)
        except Exception as error:  # the function is the user's: whatever it raises is about the record it was given
            raise failure(name, error) from error

    return checked


def failure(name: str, error: Exception) -> RecordError:
    """What an exception of a user's function is for the record at hand."""
    told = str(error) if isinstance(error, RecordError) else exception_text(error)  # ours: of a value at the border
    return RecordError("udf", f"{name}: {told}")


def exception_text(error: Exception) -> str:
    """The class of an exception of the user's, and what it says, where it can."""
    try:
        text = str(error).encode(errors="backslashreplace").decode()
    except Exception:  # noqa: BLE001  # the class is the user's
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

"""Functions that users write in Python: `@udf` makes a scalar function of one, its signature from the type hints."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from types import FunctionType, ModuleType
from typing import Any, TypeVar, overload

from headrace.sql.binder import bind
from headrace.sql.errors import RecordError, SqlError, UdfError
from headrace.sql.functions.catalog import BUILT_IN, Functions, is_built_in
from headrace.sql.functions.hints import Hinted, HintReader, Operands
from headrace.sql.functions.registry import ScalarFunction, Signature
from headrace.sql.functions.user_values import from_python, to_python
from headrace.sql.parser import is_callable_name, parse

_MARK = "__headrace_function__"
"""Where a decorated function keeps what SQL knows of it."""
_MESSAGE_MAX = 1_000
"""Characters of a dead letter's message: a user's exception may carry the whole of its input."""
Decorated = TypeVar("Decorated", bound=Callable[..., object])


@overload
def udf(function: Decorated, /) -> Decorated: ...


@overload
def udf(
    *, name: str | None = None, parameters: Sequence[str] | None = None, returns: str | None = None
) -> Callable[[Decorated], Decorated]: ...


def udf(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str | None = None,
    parameters: Sequence[str] | None = None,
    returns: str | None = None,
) -> Any:
    """A Python function as a scalar function of SQL, under its own name or `name`.

    The type hints are its signature; `parameters` and `returns` name SQL types in their place. A parameter whose hint
    is `X | None` gets None for NULL; for the others a NULL makes NULL without a call. Only what is hinted `X | None`
    may give back None. The function itself stays as it is. It is taken to give the same for the same operands.
    Raises UdfError where SQL cannot call it.
    """

    def decorate(function: Callable[..., object]) -> Callable[..., object]:
        setattr(function, _MARK, _scalar_function(function, name, _texts(parameters), returns))
        return function

    return decorate if function is None else decorate(function)


def own_functions(udfs: Iterable[object]) -> Functions:
    """The built-in functions and the given ones: decorated, or modules that hold such.

    Raises UdfError for something else, and for two of one name.
    """
    scalars: dict[str, ScalarFunction] = {}
    for given in udfs:
        for function in _functions_of(given):
            if scalars.get(function.name, function) is not function:
                raise UdfError(f"{function.name}: two functions have this name")
            scalars[function.name] = function
    if not scalars:
        return BUILT_IN
    return Functions({**BUILT_IN.scalars, **scalars}, BUILT_IN.aggregates)


def _functions_of(given: object) -> list[ScalarFunction]:
    if not isinstance(given, ModuleType):
        marked = _marked(given)
        if marked is None:
            shown = getattr(given, "__name__", None) or repr(given)
            raise UdfError(f"{shown} is not decorated with @headrace.udf")
        return [marked]
    found = [marked for value in vars(given).values() if (marked := _marked(value)) is not None]
    if not found:
        name = getattr(given, "__file__", None) or given.__name__
        raise UdfError(f"{name} has no function decorated with @headrace.udf")
    return found


def _marked(given: object) -> ScalarFunction | None:
    marked = getattr(given, "__dict__", {}).get(_MARK)
    return marked if isinstance(marked, ScalarFunction) else None


def _texts(types: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if types is None else (types,) if isinstance(types, str) else tuple(types)


def _sql_name(given: str | None, own: str) -> str:
    """The name for SQL; UdfError where a call by it would mean something else."""
    name = given or own
    if not (name.isascii() and name.isidentifier() and is_callable_name(name)):
        raise UdfError(f"a function cannot be called {name!r} in SQL: give it another name, @headrace.udf(name=…)")
    if is_built_in(name.upper()) or _means_something(name.upper()):
        raise UdfError(
            f"{name.upper()} is a function of Headrace's own: give yours another name, @headrace.udf(name=…)"
        )
    return name.upper()


def _means_something(name: str) -> bool:
    """Whether a call is one of the forms that the binder knows beside functions."""
    try:
        bind(parse(f"CREATE STREAM s (x INT); SELECT {name}(x) AS a FROM s"))
    except SqlError as error:
        return not error.problems[0].message.startswith(f"function {name} does not exist")
    return True


# Scalar functions


def _scalar_function(
    function: Callable[..., object], name: str | None, parameters: tuple[str, ...] | None, returns: str | None
) -> ScalarFunction:
    if not isinstance(function, FunctionType):
        raise UdfError(f"@headrace.udf stands before a function, not {type(function).__name__}")
    sql_name = _sql_name(name, function.__name__)
    reader = HintReader(sql_name)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise reader.error("an async function or a generator does not give one value for a row")
    operands = reader.operands(function, parameters, first=0)
    result = reader.read(reader.hints_of(function).get("return"), returns, "the result")
    call = _result_checked(sql_name, _operands_converted(function, operands), result)
    sees_null = any(hinted.nullable for hinted in operands.hints)
    if sees_null:
        call = _strict_in(call, operands)
    call.__name__ = f"udf_{sql_name.lower()}"
    places = ", ".join(f"{{{number}}}" for number in range(len(operands.hints)))
    written = Signature(
        tuple(hinted.type for hinted in operands.hints),
        result.type,
        f"{call.__name__}({'{*}' if operands.optional else places})",
        (call,),
        optional=operands.optional,
        variadic=operands.variadic,
        sees_null=sees_null,
        may_be_null=result.nullable or (sees_null and not all(hinted.nullable for hinted in operands.hints)),
        fails=True,
    )
    return ScalarFunction(sql_name, (), (written,), inspect.getdoc(function) or "", ())


def _operands_converted(function: Callable[..., Any], operands: Operands) -> Callable[..., Any]:
    """The function over values in memory."""
    converts = [to_python(hinted.type) for hinted in operands.hints]
    if not any(converts):
        return function

    def converted(*given: Any) -> Any:
        pairs = zip(given, chain(converts, repeat(converts[-1])), strict=False)
        return function(*[value if value is None or convert is None else convert(value) for value, convert in pairs])

    return converted


def _strict_in(function: Callable[..., Any], operands: Operands) -> Callable[..., Any]:
    """The function of which some operands may be NULL, and the others make NULL without a call."""
    sees_null = [hinted.nullable for hinted in operands.hints]
    if all(sees_null):
        return function

    def strict(*given: Any) -> Any:
        pairs = zip(given, chain(sees_null, repeat(sees_null[-1])), strict=False)
        return None if any(value is None and not sees for value, sees in pairs) else function(*given)

    return strict


def _result_checked(name: str, function: Callable[..., Any], result: Hinted) -> Callable[..., Any]:
    """The function, of which a wrong result and every exception is a RecordError that names it."""
    accept = from_python(result.type)

    def checked(*given: Any) -> Any:
        try:
            value = function(*given)
            if value is None and not result.nullable:
                raise RecordError("udf", "returned None, and the hint of its result does not say `| None`")
            return None if value is None else accept(value)
        except RecordError as error:
            raise RecordError("udf", f"{name}: {error}") from None
        except Exception as error:  # the function is the user's: whatever it raises is about the record it was given
            raise failure(name, error) from error

    return checked


def failure(name: str, error: Exception) -> RecordError:
    """What an exception of a user's function is for the record at hand."""
    text = str(error).encode(errors="backslashreplace").decode()
    kind = type(error).__name__
    return RecordError("udf", f"{name}: {kind}: {text}"[:_MESSAGE_MAX] if text else f"{name}: {kind}")

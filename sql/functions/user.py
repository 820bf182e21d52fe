"""Functions that users write in Python, their signatures from type hints: `@udf` of a function, `@udaf` of a class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import FunctionType, ModuleType
from typing import Any, TypeVar, overload

from headrace.sql.binder import bind
from headrace.sql.errors import SqlError, UdfError
from headrace.sql.functions.accumulators import AggregateFunction
from headrace.sql.functions.catalog import BUILT_IN, Functions, is_built_in
from headrace.sql.functions.registry import ScalarFunction
from headrace.sql.functions.user_aggregates import aggregate_function
from headrace.sql.functions.user_scalars import scalar_function
from headrace.sql.parser import is_callable_name, parse

_MARK = "__headrace_function__"
"""Where a decorated function keeps what SQL knows of it."""
Function = ScalarFunction | AggregateFunction
Decorated = TypeVar("Decorated", bound=Callable[..., object])
State = TypeVar("State", bound=type)


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
        if not isinstance(function, FunctionType):
            raise UdfError(f"@headrace.udf stands before a function, not {type(function).__name__}")
        sql_name = _sql_name(name, function.__name__, "udf")
        setattr(function, _MARK, scalar_function(function, sql_name, _texts(parameters), returns))
        return function

    return decorate if function is None else decorate(function)


@overload
def udaf(class_: State, /) -> State: ...


@overload
def udaf(
    *,
    name: str | None = None,
    parameters: Sequence[str] | None = None,
    returns: str | None = None,
    ordered: bool = False,
) -> Callable[[State], State]: ...


def udaf(
    class_: type | None = None,
    /,
    *,
    name: str | None = None,
    parameters: Sequence[str] | None = None,
    returns: str | None = None,
    ordered: bool = False,
) -> Any:
    """A Python class as an aggregate function of SQL, under its own name or `name`.

    An object of it is the state of a group: made without operands, changed by `update(self, …)`, joined by
    `merge(self, other)` with the state of other rows of the group, asked by `result(self)`. Its attributes are
    annotated, so that they can be stored. The hints of `update` and `result` are the signature, as for `udf`. Rows come
    as they arrive; where `ordered`, in the order of (event time, source partition, offset), and all of them are kept.
    Raises UdfError where SQL cannot use it.
    """

    def decorate(class_: type) -> type:
        if not isinstance(class_, type):
            raise UdfError(f"@headrace.udaf stands before a class, not {type(class_).__name__}")
        sql_name = _sql_name(name, class_.__name__, "udaf")
        setattr(class_, _MARK, aggregate_function(class_, sql_name, _texts(parameters), returns, ordered=ordered))
        return class_

    return decorate if class_ is None else decorate(class_)


def own_functions(udfs: Iterable[object]) -> Functions:
    """The built-in functions and the given ones: decorated, or modules that hold such.

    Raises UdfError for something else, and for two of one name.
    """
    own: dict[str, Function] = {}
    for given in udfs:
        for function in _functions_of(given):
            if own.get(function.name, function) is not function:
                raise UdfError(f"{function.name}: two functions have this name")
            own[function.name] = function
    if not own:
        return BUILT_IN
    scalars = {name: function for name, function in own.items() if isinstance(function, ScalarFunction)}
    aggregates = {name: function for name, function in own.items() if isinstance(function, AggregateFunction)}
    return Functions({**BUILT_IN.scalars, **scalars}, {**BUILT_IN.aggregates, **aggregates})


def _functions_of(given: object) -> list[Function]:
    if not isinstance(given, ModuleType):
        marked = _marked(given)
        if marked is None:
            shown = getattr(given, "__name__", None) or repr(given)
            raise UdfError(f"{shown} is not decorated with @headrace.udf or @headrace.udaf")
        return [marked]
    found = [marked for value in vars(given).values() if (marked := _marked(value)) is not None]
    if not found:
        name = getattr(given, "__file__", None) or given.__name__
        raise UdfError(f"{name} has nothing decorated with @headrace.udf or @headrace.udaf")
    return found


def _marked(given: object) -> Function | None:
    marked = getattr(given, "__dict__", {}).get(_MARK)
    return marked if isinstance(marked, (ScalarFunction, AggregateFunction)) else None


def _texts(types: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if types is None else (types,) if isinstance(types, str) else tuple(types)


def _sql_name(given: str | None, own: str, decorator: str) -> str:
    """The name for SQL; UdfError where a call by it would mean something else."""
    name = given or own
    hint = f"give it another name, @headrace.{decorator}(name=…)"
    if not (name.isascii() and name.isidentifier() and is_callable_name(name)):
        raise UdfError(f"a function cannot be called {name!r} in SQL: {hint}")
    if is_built_in(name.upper()) or _means_something(name.upper()):
        raise UdfError(f"{name.upper()} is a function of Headrace's own: {hint}")
    return name.upper()


def _means_something(name: str) -> bool:
    """Whether a call is one of the forms that the binder knows beside functions."""
    try:
        bind(parse(f"CREATE STREAM s (x INT); SELECT {name}(x) AS a FROM s"))
    except SqlError as error:
        return not error.problems[0].message.startswith(f"function {name} does not exist")
    return True

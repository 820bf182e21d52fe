"""A user's Python class as an aggregate function: objects of it are the states of groups."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from headrace.sql.functions.accumulators import (
    Accumulator,
    AggregateFunction,
    AggregateSignature,
    Aggregation,
    Given,
    StateSize,
)
from headrace.sql.functions.hints import Hinted, HintReader, Operands
from headrace.sql.functions.registry import Signature
from headrace.sql.functions.user_scalars import failure, operands_converter, places, result_checked, strict_in
from headrace.sql.functions.user_states import StateLayout, UserState
from headrace.sql.runtime.aggregates import ELEMENTS_MAX, check_elements
from headrace.sql.types import python_type


def aggregate_function(
    class_: type, name: str, parameters: tuple[str, ...] | None, returns: str | None, *, ordered: bool
) -> AggregateFunction:
    """The entry of a class, with the hints of its methods or the given SQL types. UdfError where SQL cannot use it."""
    reader = HintReader(name)
    for method, shown in (("update", "update(self, …)"), ("result", "result(self)")):
        if not inspect.isfunction(getattr(class_, method, None)):
            raise reader.error(f"the class has no method {shown}")
    operands = reader.operands(class_.update, parameters, first=1)  # type: ignore[attr-defined]
    if operands.variadic or len(operands.hints) == operands.optional:
        raise reader.error("`update` takes at least one operand, and a number of them that is known")
    result = reader.read(reader.hints_of(class_.result).get("return"), returns, "the result")  # type: ignore[attr-defined]
    layout = StateLayout(class_, reader)
    state = _state_class(class_, name, layout, operands, result)
    check = _check(state, operands)
    keep = _ordered(state, operands, result) if ordered else _by_arrival(state, operands, result)
    counts = range(len(operands.hints) - operands.optional, len(operands.hints) + 1)
    return AggregateFunction(
        name,
        (),
        tuple(
            AggregateSignature(
                tuple(hinted.type for hinted in operands.hints[:count]),
                keep,
                check=_check_signature(check, operands, count),
            )
            for count in counts
        ),
        inspect.getdoc(class_) or "",
        StateSize.ROWS if ordered else StateSize.OWN,
        mergeable=ordered or inspect.isfunction(getattr(class_, "merge", None)),
    )


def _state_class(class_: type, name: str, layout: StateLayout, operands: Operands, result: Hinted) -> type[UserState]:
    """The class of states, which msgspec tells by it how to decode them."""
    given = {
        "__slots__": (),
        "name": name,
        "layout": layout,
        "convert": operands_converter(operands),
        "finish": result_checked(name, class_.result, result),  # type: ignore[attr-defined]
    }
    return type(f"{name}State", (UserState,), given)


# A row that is wrong is found before any state changes


def _check(state: type[UserState], operands: Operands) -> Callable[..., Any]:
    """The first operand of a row, which an empty state has taken; RecordError where it has not."""

    def check(*given: Any) -> Any:
        convert = state.convert
        try:
            state.layout.new().update(*(given if convert is None else convert(given)))
        except Exception as error:  # the class is the user's: whatever it raises is about the row it was given
            raise failure(state.name, error) from error
        return given[0]

    checked = strict_in(check, operands) if any(hinted.nullable for hinted in operands.hints) else check
    checked.__name__ = f"udaf_{state.name.lower()}_check"
    return checked


def _check_signature(check: Callable[..., Any], operands: Operands, count: int) -> Signature:
    sees_null = any(hinted.nullable for hinted in operands.hints)
    types = tuple(hinted.type for hinted in operands.hints[:count])
    template = f"{check.__name__}({places(count)})"
    return Signature(types, types[0], template, (check,), sees_null=sees_null, may_be_null=sees_null, fails=True)


# What a group keeps


def _by_arrival(state: type[UserState], operands: Operands, result: Hinted) -> Callable[[Given], Aggregation | None]:
    """A state that each row changes as it comes."""
    kind = _kind(state)

    def keep(given: Given) -> Aggregation | None:
        update = (f"{{f}}.add({places(len(given.types))})",)
        accumulator = Accumulator(kind, update, ("{f}.merge({g})",), state, state, sees_null=_sees_null(operands))
        code = f"{{{kind}}}.result()"
        return Aggregation(
            result.type, (accumulator,), code, nullable=result.nullable, fails=True, keeps=str(state.layout)
        )

    return keep


def _ordered(state: type[UserState], operands: Operands, result: Hinted) -> Callable[[Given], Aggregation | None]:
    """The rows, which a state takes in their order when the result is asked for."""
    kind = _kind(state)

    def replay(rows: list[tuple[Any, ...]]) -> Any:
        check_elements(rows)
        own = state()
        for row in sorted(rows, key=_order):
            own.add(*row[3:])
        return own.result()

    replay.__name__ = f"udaf_{state.name.lower()}_replay"

    def keep(given: Given) -> Aggregation | None:
        update = (f"if len({{f}}) <= {ELEMENTS_MAX}:", f"    {{f}}.append((*{{o}}, {places(len(given.types))}))")
        row: Any = tuple
        values = [python_type(type_) | None for type_ in given.types]
        storage = list[row[int, int | bytes, int, *values]]
        accumulator = Accumulator(
            kind, update, ("{f} += {g}",), storage, list, ordered=True, sees_null=_sees_null(operands)
        )
        code, names = f"{{replay}}({{{kind}}})", {"replay": replay}
        return Aggregation(result.type, (accumulator,), code, names, nullable=result.nullable, fails=True)

    return keep


def _order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[:3]


def _kind(state: type[UserState]) -> str:
    return f"own_{state.name.lower()}"


def _sees_null(operands: Operands) -> tuple[int, ...]:
    return tuple(number for number, hinted in enumerate(operands.hints) if hinted.nullable)

"""Aggregate functions that take values of single rows: the first, the last, that of the smallest or largest other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.sql.functions.accumulators import (
    COUNT_OF_ELEMENTS,
    IGNORE_NULLS,
    Accumulator,
    AggregateFunction,
    AggregateSignature,
    Aggregation,
    Example,
    Given,
    StateSize,
)
from headrace.sql.runtime import aggregates
from headrace.sql.types import Type, array_type, python_type

_ROW_ORDER = "(event time, source partition, offset)"


def ordered_value(type_: Type, *, nullable: bool) -> Any:
    """The class of a value behind the order of its row."""
    python: Any = python_type(type_)
    row: Any = tuple
    return row[int, int | bytes, int, python | None if nullable else python]


def _edge(kind: str, operator: str, type_: Type, sees_null: tuple[int, ...]) -> Accumulator:
    """The value of the first or last row, behind its order."""
    update = ("order = {o}", f"if {{f}} is None or order {operator} {{f}}[:3]:", "    {f} = (*order, {v})")
    merge = (f"if {{f}} is None or ({{g}} is not None and {{g}}[:3] {operator} {{f}}[:3]):", "    {f} = {g}")
    storage = ordered_value(type_, nullable=bool(sees_null)) | None
    return Accumulator(kind, update, merge, storage, None, ordered=True, sees_null=sees_null)


def _single(kind: str, operator: str) -> Callable[[Given], Aggregation | None]:
    def keep(given: Given) -> Aggregation | None:
        with_nulls = given.constants == (False,)
        name = f"{kind}_row" if with_nulls else kind
        accumulator = _edge(name, operator, given.type, (0,) if with_nulls else ())
        return Aggregation(given.type, (accumulator,), f"(None if {{{name}}} is None else {{{name}}}[3])")

    return keep


def _several(kind: str, keep_rows: Callable[..., None]) -> Callable[[Given], Aggregation | None]:
    """The values of the n first or last rows, in the order of rows."""

    def keep(given: Given) -> Aggregation | None:
        count, *flags = given.constants
        sees_null = (0,) if False in flags else ()
        name = f"{kind}_{count}{'_rows' if sees_null else ''}"
        rows: Any = list
        accumulator = Accumulator(
            name,
            (f"{{keep_rows}}({{f}}, ((*{{o}}, {{v}}),), {count})",),
            (f"{{keep_rows}}({{f}}, {{g}}, {count})",),
            rows[ordered_value(given.type, nullable=bool(sees_null))],
            list,
            names={"keep_rows": keep_rows},
            ordered=True,
            sees_null=sees_null,
        )
        names = {"in_order": aggregates.in_order}
        return Aggregation(array_type(given.type), (accumulator,), f"{{in_order}}({{{name}}})", names, fails=True)

    return keep


def _extreme_row(kind: str, operator: str) -> Callable[[Given], Aggregation | None]:
    """The value in the row in which another is smallest or largest; of several such rows, the first."""

    def keep(given: Given) -> Aggregation | None:
        value, other = given.types
        if not other.is_ordered:
            return None
        row: Any = tuple
        storage = row[python_type(other), int, int | bytes, int, python_type(value)] | None
        update = (
            "order = {o}",
            f"if {{f}} is None or {{w}} {operator} {{f}}[0] or ({{w}} == {{f}}[0] and order < {{f}}[1:4]):",
            "    {f} = ({w}, *order, {v})",
        )
        better = f"{{g}}[0] {operator} {{f}}[0] or ({{g}}[0] == {{f}}[0] and {{g}}[1:4] < {{f}}[1:4])"
        merge = (f"if {{g}} is not None and ({{f}} is None or {better}):", "    {f} = {g}")
        accumulator = Accumulator(kind, update, merge, storage, None, ordered=True)
        return Aggregation(value, (accumulator,), f"(None if {{{kind}}} is None else {{{kind}}}[4])")

    return keep


def _signatures(
    single: Callable[[Given], Aggregation | None], several: Callable[[Given], Aggregation | None]
) -> tuple[AggregateSignature, ...]:
    return (
        AggregateSignature(("any",), single),
        AggregateSignature(("any",), single, (IGNORE_NULLS,)),
        AggregateSignature(("any",), several, (COUNT_OF_ELEMENTS,)),
        AggregateSignature(("any",), several, (COUNT_OF_ELEMENTS, IGNORE_NULLS)),
    )


_FIRST, _LAST = _single("first", "<"), _single("last", ">=")
_ROWS = (3, None, 1, -2)
_PAIRS = (("a", 3), ("b", 1), ("c", 3), (None, 5))

FUNCTIONS: tuple[AggregateFunction, ...] = (
    AggregateFunction(
        "FIRST_VALUE",
        ("FIRST", "EARLIEST_BY_OFFSET"),
        _signatures(_FIRST, _several("first", aggregates.keep_first_rows)),
        f"The value of the first row by {_ROW_ORDER} whose operand is not NULL; "
        "with `ignore_nulls` FALSE that of the first row. With `n` those of the n first, as an ARRAY.",
        StateSize.ELEMENTS,
        examples=(
            Example("FIRST_VALUE(x)", (None, *_ROWS), 3),
            Example("EARLIEST_BY_OFFSET(x, FALSE)", (None, *_ROWS), None),
            Example("EARLIEST_BY_OFFSET(x, 2)", (None, *_ROWS), [3, 1]),
            Example("EARLIEST_BY_OFFSET(x, 2, FALSE)", (None, *_ROWS), [None, 3]),
        ),
    ),
    AggregateFunction(
        "LAST_VALUE",
        ("LAST", "LATEST_BY_OFFSET"),
        _signatures(_LAST, _several("last", aggregates.keep_last_rows)),
        f"The value of the last row by {_ROW_ORDER} whose operand is not NULL; "
        "with `ignore_nulls` FALSE that of the last row. With `n` those of the n last, as an ARRAY.",
        StateSize.ELEMENTS,
        examples=(
            Example("LAST_VALUE(x)", (*_ROWS, None), -2),
            Example("LATEST_BY_OFFSET(x, FALSE)", (*_ROWS, None), None),
            Example("LATEST_BY_OFFSET(x, 2)", (*_ROWS, None), [1, -2]),
        ),
    ),
    AggregateFunction(
        "ANY_VALUE",
        (),
        (AggregateSignature(("any",), _FIRST),),
        "A value that is not NULL: that of FIRST_VALUE, so that every run gives the same.",
        examples=(Example("ANY_VALUE(x)", _ROWS, 3),),
    ),
    AggregateFunction(
        "ARG_MIN",
        ("MIN_BY",),
        (AggregateSignature(("any", "any"), _extreme_row("arg_min", "<")),),
        "The first operand in the row with the smallest second one (the first such row); rows with NULL do not count.",
        examples=(Example("ARG_MIN(x, y)", _PAIRS, "b", "x VARCHAR, y INT"),),
    ),
    AggregateFunction(
        "ARG_MAX",
        ("MAX_BY",),
        (AggregateSignature(("any", "any"), _extreme_row("arg_max", ">")),),
        "The first operand in the row with the largest second one (the first such row); rows with NULL do not count.",
        examples=(Example("ARG_MAX(x, y)", _PAIRS, "a", "x VARCHAR, y INT"),),
    ),
)

"""Aggregate functions that make one number or value of all: counts, sums, extremes, bits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from headrace.sql.functions.accumulators import (
    Accumulator,
    AggregateFunction,
    AggregateSignature,
    Aggregation,
    Example,
    Given,
    StateSize,
)
from headrace.sql.runtime import aggregates, values
from headrace.sql.types import BIGINT, BOOLEAN, DOUBLE, Kind, Type, decimal_type, python_type

# Accumulators that several functions keep

COUNT = Accumulator("count", ("{f} += 1",), ("{f} += {g}",), retract=("{f} -= 1",))
NULLS = Accumulator("nulls", ("{f} += 1",), ("{f} += {g}",))
"""Counted in place of values, where rows are counted too."""


def total(type_: Type) -> Accumulator:
    """The sum of numbers: exact for integers and DECIMAL."""
    if type_.kind is Kind.DECIMAL:
        zero = Decimal(0).scaleb(-type_.scale)
        add = "{f} = {decimal_add}({f}, {v})"
        merge = "{f} = {decimal_add}({f}, {g})"
        subtract = "{f} = {decimal_subtract}({f}, {v})"
        names = {"decimal_add": values.decimal_add, "decimal_subtract": values.decimal_subtract}
        return Accumulator("decimal_sum", (add,), (merge,), Decimal, zero, (subtract,), names)
    if type_.kind is Kind.DOUBLE:
        return Accumulator("sum", ("{f} += {v}",), ("{f} += {g}",), float, 0.0)
    return Accumulator("sum", ("{f} += {v}",), ("{f} += {g}",), int, 0, ("{f} -= {v}",), wide=True)


def total_name(type_: Type) -> str:
    """The kind of `total`."""
    return "{decimal_sum}" if type_.kind is Kind.DECIMAL else "{sum}"


def different(type_: Type) -> Accumulator:
    """The set of different values."""
    values_of: Any = set
    return Accumulator("distinct", ("{f}.add({v})",), ("{f} |= {g}",), values_of[python_type(type_)], set)


def _extreme(kind: str, operator: str, type_: Type) -> Accumulator:
    update = (f"if {{f}} is None or {{v}} {operator} {{f}}:", "    {f} = {v}")
    merge = (f"if {{f}} is None or ({{g}} is not None and {{g}} {operator} {{f}}):", "    {f} = {g}")
    return Accumulator(kind, update, merge, python_type(type_) | None, None)


def _folded(kind: str, operator: str, type_: Type) -> Accumulator:
    """Values that an operator makes one, in any order."""
    update = (f"{{f}} = {{v}} if {{f}} is None else {{f}} {operator} {{v}}",)
    merge = ("if {g} is not None:", f"    {{f}} = {{g}} if {{f}} is None else {{f}} {operator} {{g}}")
    return Accumulator(kind, update, merge, python_type(type_) | None, None)


# Functions


ROWS = Aggregation(BIGINT, (COUNT,), "{count}", nullable=False)


def _count(given: Given) -> Aggregation | None:
    del given
    return ROWS


def _count_distinct(given: Given) -> Aggregation | None:
    if not given.type.has_keys:
        return None
    return Aggregation(BIGINT, (different(given.type),), "len({distinct})", nullable=False)


def _count_if(given: Given) -> Aggregation | None:
    del given
    update = ("if {v}:", "    {f} += 1")
    return Aggregation(BIGINT, (Accumulator("count_if", update, ("{f} += {g}",)),), "{count_if}", nullable=False)


def _sum_type(type_: Type) -> Type:
    if type_.kind is Kind.DECIMAL:
        return decimal_type(38, type_.scale)
    return DOUBLE if type_.kind is Kind.DOUBLE else BIGINT


def _mean_type(type_: Type) -> Type:
    return decimal_type(38, max(6, type_.scale)) if type_.kind is Kind.DECIMAL else DOUBLE


def in_range(type_: Type, value: str) -> str:
    """Code of a number that is refused where it does not fit a type; with CHECKS as its names."""
    match type_.kind:
        case Kind.DOUBLE:
            return f"{{finite}}({value})"
        case Kind.DECIMAL:
            return f"{{fit_decimal}}({value}, {type_.precision}, {type_.scale})"
        case _:
            return f"{{in_bigint}}({value})"


CHECKS = {"finite": values.finite, "fit_decimal": values.fit_decimal, "in_bigint": values.in_bigint}


def _sum(given: Given) -> Aggregation | None:
    type_ = _sum_type(given.type)
    result = in_range(type_, total_name(given.type))
    return Aggregation(type_, (COUNT, total(given.type)), result, CHECKS, needs_value=True, fails=True)


def _avg(given: Given) -> Aggregation | None:
    type_, sum_ = _mean_type(given.type), total_name(given.type)
    is_decimal = type_.kind is Kind.DECIMAL
    result = in_range(type_, f"{{divide_decimal}}({sum_}, {{count}})" if is_decimal else f"{sum_} / {{count}}")
    names = {**CHECKS, "divide_decimal": values.divide_decimal}
    return Aggregation(type_, (COUNT, total(given.type)), result, names, needs_value=True, fails=True)


def _sum_of_different(given: Given) -> Aggregation | None:
    type_ = _sum_type(given.type)
    add = {Kind.DOUBLE: values.sum_double, Kind.DECIMAL: aggregates.sum_decimal}.get(given.type.kind, sum)
    result = f"({in_range(type_, '{add}({distinct})')} if {{distinct}} else None)"
    return Aggregation(type_, (different(given.type),), result, {**CHECKS, "add": add}, fails=True)


def _mean_of_different(given: Given) -> Aggregation | None:
    type_ = _mean_type(given.type)
    means = {Kind.DOUBLE: values.mean_double, Kind.DECIMAL: aggregates.mean_decimal}
    mean = means.get(given.type.kind, aggregates.mean_integer)
    result = f"({in_range(type_, '{mean}({distinct})')} if {{distinct}} else None)"
    return Aggregation(type_, (different(given.type),), result, {**CHECKS, "mean": mean}, fails=True)


def _sum_of_elements(given: Given) -> Aggregation | None:
    element = given.type.element
    if element is None or not element.is_numeric:
        return None
    is_decimal = element.kind is Kind.DECIMAL
    add = aggregates.add_decimal_elements if is_decimal else aggregates.add_elements
    merge = "{f} = {decimal_add}({f}, {g})" if is_decimal else "{f} += {g}"
    plain = total(element)
    names = {"add": add, "decimal_add": values.decimal_add}
    update = ("{f} = {add}({f}, {v})",)
    kept = Accumulator("sum_list", update, (merge,), plain.storage, plain.initial, names=names, wide=plain.wide)
    type_ = _sum_type(element)
    return Aggregation(type_, (COUNT, kept), in_range(type_, "{sum_list}"), CHECKS, needs_value=True, fails=True)


def _min(given: Given) -> Aggregation | None:
    return Aggregation(given.type, (_extreme("min", "<", given.type),), "{min}") if given.type.is_ordered else None


def _max(given: Given) -> Aggregation | None:
    return Aggregation(given.type, (_extreme("max", ">", given.type),), "{max}") if given.type.is_ordered else None


def _fold(
    name: str, operator: str, parameter: Type | str, doc: str, *aliases: str, example: Example
) -> AggregateFunction:
    def keep(given: Given) -> Aggregation | None:
        return Aggregation(given.type, (_folded(name.lower(), operator, given.type),), f"{{{name.lower()}}}")

    signatures = (AggregateSignature((parameter,), keep),)
    distinct = signatures if operator != "^" else ()  # where a value that comes again changes nothing
    return AggregateFunction(name, aliases, signatures, doc, distinct=distinct, examples=(example,))


_NUMBER = (AggregateSignature(("number",), _sum),)
_EXTREMES = {name: (AggregateSignature(("any",), keep),) for name, keep in (("MIN", _min), ("MAX", _max))}
_DIFFERENT = (AggregateSignature(("any",), _count_distinct),)
_VALUES = (3, None, 1, 3, -2)

COUNT_FUNCTION = AggregateFunction(
    "COUNT",
    (),
    (AggregateSignature(("any",), _count),),
    "The number of rows, or of rows whose operand is not NULL.",
    examples=(Example("COUNT(*)", _VALUES, 5), Example("COUNT(x)", _VALUES, 4)),
)
FUNCTIONS: tuple[AggregateFunction, ...] = (
    COUNT_FUNCTION,
    AggregateFunction(
        "COUNT_DISTINCT",
        (),
        _DIFFERENT,
        "The number of different values. Also COUNT(DISTINCT x).",
        StateSize.DISTINCT,
        _DIFFERENT,
        examples=(Example("COUNT_DISTINCT(x)", _VALUES, 3), Example("COUNT(DISTINCT x)", _VALUES, 3)),
    ),
    AggregateFunction(
        "COUNT_IF",
        (),
        (AggregateSignature((BOOLEAN,), _count_if),),
        "The number of rows in which the condition is TRUE.",
        examples=(Example("COUNT_IF(x > 2)", _VALUES, 2),),
    ),
    AggregateFunction(
        "SUM",
        (),
        _NUMBER,
        "The sum, exact for integers and DECIMAL; NULL over nothing.",
        distinct=(AggregateSignature(("number",), _sum_of_different),),
        examples=(Example("SUM(x)", _VALUES, 5), Example("SUM(DISTINCT x)", _VALUES, 2)),
    ),
    AggregateFunction(
        "AVG",
        ("MEAN",),
        (AggregateSignature(("number",), _avg),),
        "The mean; DECIMAL for DECIMAL, else DOUBLE; NULL over nothing.",
        distinct=(AggregateSignature(("number",), _mean_of_different),),
        examples=(Example("AVG(x)", _VALUES, 1.25), Example("AVG(DISTINCT x)", (1, 1, 2), 1.5)),
    ),
    AggregateFunction(
        "SUM_LIST",
        (),
        (AggregateSignature(("array",), _sum_of_elements),),
        "The sum of the elements of all arrays; NULL over nothing.",
        examples=(Example("SUM_LIST(x)", ([1, None, 2], None, [], [4]), 7, "x ARRAY<INT>"),),
    ),
    AggregateFunction(
        "MIN",
        (),
        _EXTREMES["MIN"],
        "The smallest value.",
        distinct=_EXTREMES["MIN"],
        examples=(Example("MIN(x)", _VALUES, -2),),
    ),
    AggregateFunction(
        "MAX",
        (),
        _EXTREMES["MAX"],
        "The largest value.",
        distinct=_EXTREMES["MAX"],
        examples=(Example("MAX(x)", _VALUES, 3),),
    ),
    _fold(
        "BOOL_AND",
        "and",
        BOOLEAN,
        "TRUE where every value is TRUE.",
        "EVERY",
        example=Example("BOOL_AND(x > 0)", (3, None, 1), True),
    ),
    _fold(
        "BOOL_OR", "or", BOOLEAN, "TRUE where a value is TRUE.", example=Example("BOOL_OR(x > 2)", (3, None, 1), True)
    ),
    _fold("BIT_AND", "&", "integer", "The bits that all values have.", example=Example("BIT_AND(x)", (7, 6, None), 6)),
    _fold("BIT_OR", "|", "integer", "The bits that some value has.", example=Example("BIT_OR(x)", (1, 4, None), 5)),
    _fold(
        "BIT_XOR",
        "^",
        "integer",
        "The bits that an odd number of values have.",
        example=Example("BIT_XOR(x)", (7, 2), 5),
    ),
)

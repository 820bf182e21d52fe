"""Scalar functions over numbers."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

from headrace.sql.errors import RecordError
from headrace.sql.functions.registry import ScalarFunction, Signature, one
from headrace.sql.runtime import values
from headrace.sql.types import BIGINT, DOUBLE, INT


def square_root(value: float) -> float:
    if value < 0:
        raise RecordError("domain", "square root of a negative number")
    return math.sqrt(value)


def power(base: float, exponent: float) -> float:
    try:
        result = math.pow(base, exponent)
    except ValueError:
        raise RecordError("domain", f"power({base}, {exponent}) is not a number") from None
    except OverflowError:
        values.overflow("DOUBLE")
    return values.finite(result)


def natural_log(value: float) -> float:
    if value <= 0:
        raise RecordError("domain", "logarithm of a number that is not positive")
    return math.log(value)


def exponential(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        values.overflow("DOUBLE")


def round_double(value: float, digits: int = 0) -> float:
    """Half away from zero, on the decimal digits that are shown."""
    if abs(value) >= 1e15 or digits > 300:
        return value
    unit = Decimal(1).scaleb(-digits)
    return float(Decimal(repr(value)).quantize(unit, rounding=ROUND_HALF_UP, context=values.EXACT))


def round_decimal(value: Decimal, digits: int = 0) -> Decimal:
    scale = -int(value.as_tuple().exponent)
    rounded = value.quantize(Decimal(1).scaleb(-min(digits, scale)), rounding=ROUND_HALF_UP, context=values.EXACT)
    return _at_scale(rounded, scale)


def _at_scale(value: Decimal, scale: int) -> Decimal:
    at_scale = value.quantize(Decimal(1).scaleb(-scale), context=values.EXACT)
    return at_scale or at_scale.copy_abs()  # there is one zero


def _whole(value: Decimal, rounding: str) -> Decimal:
    scale = -int(value.as_tuple().exponent)
    return _at_scale(value.to_integral_value(rounding=rounding), scale)


def ceiling_decimal(value: Decimal) -> Decimal:
    return _whole(value, ROUND_CEILING)


def floor_decimal(value: Decimal) -> Decimal:
    return _whole(value, ROUND_FLOOR)


def ceiling_double(value: float) -> float:
    return float(math.ceil(value))


def floor_double(value: float) -> float:
    return float(math.floor(value))


def sign(value: float | Decimal) -> int:
    return (value > 0) - (value < 0)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    ScalarFunction(
        "ABS",
        (),
        (
            Signature((INT,), INT, "in_int(abs({0}))", (values.in_int,), fails=True),
            Signature((BIGINT,), BIGINT, "in_bigint(abs({0}))", (values.in_bigint,), fails=True),
            Signature(("number",), None, "abs({0})"),
        ),
        "The absolute value.",
        (("ABS(-3)", "3"), ("ABS(-1.50)", "1.50")),
    ),
    ScalarFunction(
        "CEIL",
        ("CEILING",),
        (
            Signature(("integer",), None, "{0}"),
            Signature(("decimal",), None, "ceiling_decimal({0})", (ceiling_decimal,)),
            Signature((DOUBLE,), DOUBLE, "ceiling_double({0})", (ceiling_double,)),
        ),
        "The smallest whole number that is not less.",
        (("CEIL(1.2E0)", "2.0E0"), ("CEIL(-1.50)", "-1.00"), ("CEIL(3)", "3")),
    ),
    ScalarFunction(
        "FLOOR",
        (),
        (
            Signature(("integer",), None, "{0}"),
            Signature(("decimal",), None, "floor_decimal({0})", (floor_decimal,)),
            Signature((DOUBLE,), DOUBLE, "floor_double({0})", (floor_double,)),
        ),
        "The largest whole number that is not greater.",
        (("FLOOR(1.8E0)", "1.0E0"), ("FLOOR(-1.50)", "-2.00")),
    ),
    ScalarFunction(
        "ROUND",
        (),
        (
            Signature(("integer",), None, "{0}"),
            Signature(("decimal", "integer"), None, "round_decimal({*})", (round_decimal,), optional=1),
            Signature((DOUBLE, "integer"), DOUBLE, "round_double({*})", (round_double,), optional=1),
        ),
        "The value rounded to a number of digits after the point (0 if left out), halves away from zero.",
        (("ROUND(2.5E0)", "3.0E0"), ("ROUND(-1.55)", "-2.00"), ("ROUND(1.25, 1)", "1.30"), ("ROUND(-2.5E0)", "-3.0E0")),
    ),
    one("SIGN", Signature(("number",), INT, "sign({0})", (sign,)), "-1, 0 or 1.", ("SIGN(-2)", "-1")),
    one(
        "SQRT",
        Signature((DOUBLE,), DOUBLE, "square_root({0})", (square_root,), fails=True),
        "The square root.",
        ("SQRT(9)", "3.0E0"),
    ),
    one(
        "POWER",
        Signature((DOUBLE, DOUBLE), DOUBLE, "power({0}, {1})", (power,), fails=True),
        "The first operand to the power of the second.",
        ("POWER(2, 10)", "1024.0E0"),
        aliases=("POW",),
    ),
    one(
        "EXP",
        Signature((DOUBLE,), DOUBLE, "exponential({0})", (exponential,), fails=True),
        "e to the power of the operand.",
        ("EXP(0)", "1.0E0"),
    ),
    one(
        "LN",
        Signature((DOUBLE,), DOUBLE, "natural_log({0})", (natural_log,), fails=True),
        "The natural logarithm.",
        ("LN(1)", "0.0E0"),
    ),
    one(
        "RANDOM",
        Signature((), DOUBLE, "task.chance.random()"),
        "A number from 0 up to, but not, 1; another one for each row.",
        ("RANDOM() < 1", "TRUE"),
        aliases=("RAND",),
    ),
)

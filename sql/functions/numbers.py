"""Scalar functions over numbers."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from functools import lru_cache

from headrace.sql.errors import RecordError
from headrace.sql.functions.registry import Rewritten, ScalarFunction, Signature, one
from headrace.sql.runtime import values
from headrace.sql.types import BIGINT, DOUBLE, INT, MAX_PRECISION, VARCHAR, Kind, Type

_EVERY_DIGIT = decimal.Context(prec=1_000, Emin=-9999, Emax=9999)
"""Wide enough for all digits of a DOUBLE."""


def square_root(value: float) -> float:
    if value < 0:
        raise RecordError("domain", "square root of a negative number")
    return math.sqrt(value)


def cube_root(value: float) -> float:
    root = math.cbrt(value)
    whole = float(round(root))
    return whole if abs(whole) < 1e100 and whole**3 == value else root  # some libraries miss it by a digit


def power(base: float, exponent: float) -> float:
    try:
        result = math.pow(base, exponent)
    except ValueError:
        raise RecordError("domain", f"power({base}, {exponent}) is not a number") from None
    except OverflowError:
        values.overflow("DOUBLE")
    return values.finite(result)


def natural_log(value: float) -> float:
    return math.log(_positive(value))


def common_log(value: float) -> float:
    return math.log10(_positive(value))


def binary_log(value: float) -> float:
    return math.log2(_positive(value))


def log_to_base(base: float, value: float) -> float:
    if base <= 0 or base == 1:
        raise RecordError("domain", f"{base} is not the base of a logarithm")
    return math.log(_positive(value)) / math.log(base)


def _positive(value: float) -> float:
    if value <= 0:
        raise RecordError("domain", "logarithm of a number that is not positive")
    return value


def exponential(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        values.overflow("DOUBLE")


def round_double(value: float, digits: int = 0) -> float:
    """Half away from zero, on the decimal digits that are shown."""
    return float(Decimal(repr(value)).quantize(_unit(digits), rounding=ROUND_HALF_UP, context=_EVERY_DIGIT))


def truncate_double(value: float, digits: int = 0) -> float:
    """Toward zero, on the decimal digits that are shown."""
    return float(Decimal(repr(value)).quantize(_unit(digits), rounding=ROUND_DOWN, context=_EVERY_DIGIT)) + 0.0


def _unit(digits: int) -> Decimal:
    """10 to the power of -digits; no number has more than 400 of them."""
    return Decimal(1).scaleb(-max(-400, min(digits, 400)))


def round_decimal(value: Decimal, digits: int = 0) -> Decimal:
    return _decimal_to(value, digits, ROUND_HALF_UP)


def truncate_decimal(value: Decimal, digits: int = 0) -> Decimal:
    return _decimal_to(value, digits, ROUND_DOWN)


def _decimal_to(value: Decimal, digits: int, rounding: str) -> Decimal:
    scale = -int(value.as_tuple().exponent)
    rounded = value.quantize(_unit(min(digits, scale)), rounding=rounding, context=values.EXACT)
    return _at_scale(rounded, scale)


def _at_scale(value: Decimal, scale: int) -> Decimal:
    at_scale = value.quantize(Decimal(1).scaleb(-scale), context=values.EXACT)
    return at_scale or at_scale.copy_abs()  # there is one zero


def ceiling_decimal(value: Decimal) -> Decimal:
    return _decimal_to(value, 0, ROUND_CEILING)


def floor_decimal(value: Decimal) -> Decimal:
    return _decimal_to(value, 0, ROUND_FLOOR)


def _one_digit_more(operands: tuple[Type, ...]) -> Type | None:
    """Rounding up makes one digit more of 9.9."""
    decimals = operands[0]
    if decimals.kind is not Kind.DECIMAL:
        return None
    return Type(Kind.DECIMAL, min(decimals.precision + 1, MAX_PRECISION), decimals.scale)


def _first(operands: tuple[Type, ...]) -> Type:
    return operands[0]


def ceiling_double(value: float) -> float:
    return float(math.ceil(value))


def floor_double(value: float) -> float:
    return float(math.floor(value))


def sign(value: float | Decimal) -> int:
    return (value > 0) - (value < 0)


def arc_sine(value: float) -> float:
    return math.asin(_within_one(value))


def arc_cosine(value: float) -> float:
    return math.acos(_within_one(value))


def _within_one(value: float) -> float:
    if not -1 <= value <= 1:
        raise RecordError("domain", f"{value} is no sine or cosine: these are from -1 to 1")
    return value


def cotangent(value: float) -> float:
    if value == 0:
        raise RecordError("domain", "0 has no cotangent")
    return values.finite(1 / math.tan(value))


def degrees(value: float) -> float:
    return values.finite(math.degrees(value))


def hyperbolic_sine(value: float) -> float:
    try:
        return math.sinh(value)
    except OverflowError:
        values.overflow("DOUBLE")


def hyperbolic_cosine(value: float) -> float:
    try:
        return math.cosh(value)
    except OverflowError:
        values.overflow("DOUBLE")


_EARTH_RADIUS = {
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres"), 6371.0),
    **dict.fromkeys(("mi", "mile", "miles"), 3959.0),
}
"""The radii that ksqlDB takes."""


@lru_cache(maxsize=100)
def earth_radius(unit: str) -> float:
    radius = _EARTH_RADIUS.get(unit.strip().lower())
    if radius is None:
        raise RecordError("domain", f"'{unit}' is no unit of a distance: 'km' and 'miles' are")
    return radius


def geo_distance(
    latitude: float, longitude: float, other_latitude: float, other_longitude: float, radius: float = 6371.0
) -> float:
    """The great-circle distance of two points given in degrees, by the haversine formula (R. W. Sinnott, "Virtues of
    the Haversine", Sky and Telescope 68, 1984); the unit is that of the radius.
    """
    if max(abs(latitude), abs(other_latitude)) > 90:
        raise RecordError("domain", "a latitude is from -90 to 90 degrees")
    if max(abs(longitude), abs(other_longitude)) > 180:
        raise RecordError("domain", "a longitude is from -180 to 180 degrees")
    north, east = math.radians(other_latitude - latitude), math.radians(other_longitude - longitude)
    cosines = math.cos(math.radians(latitude)) * math.cos(math.radians(other_latitude))
    haversine = math.sin(north / 2) ** 2 + cosines * math.sin(east / 2) ** 2
    return 2 * radius * math.asin(min(1.0, math.sqrt(haversine)))


def _of_double(
    name: str, function: Callable[[float], float], doc: str, *examples: tuple[str, str], fails: bool = False
) -> ScalarFunction:
    """A function from DOUBLE to DOUBLE."""
    return one(
        name, Signature((DOUBLE,), DOUBLE, f"{function.__name__}({{0}})", (function,), fails=fails), doc, *examples
    )


REWRITTEN: tuple[Rewritten, ...] = (
    Rewritten(
        "MOD",
        (),
        "MOD(number, number)",
        "The remainder, as the operator `%`: it has the sign of the first operand.",
        (("MOD(-7, 3)", "-1"),),
    ),
)

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
            Signature(("decimal",), _one_digit_more, "ceiling_decimal({0})", (ceiling_decimal,)),
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
            Signature(("decimal",), _one_digit_more, "floor_decimal({0})", (floor_decimal,)),
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
            Signature(("decimal", "integer"), _one_digit_more, "round_decimal({*})", (round_decimal,), optional=1),
            Signature((DOUBLE, "integer"), DOUBLE, "round_double({*})", (round_double,), optional=1),
        ),
        "The value rounded to a number of digits after the point (0 if left out), halves away from zero.",
        (("ROUND(2.5E0)", "3.0E0"), ("ROUND(-1.55)", "-2.00"), ("ROUND(1.25, 1)", "1.30"), ("ROUND(-2.5E0)", "-3.0E0")),
    ),
    ScalarFunction(
        "TRUNC",
        ("TRUNCATE",),
        (
            Signature(("integer",), None, "{0}"),
            Signature(("decimal", "integer"), _first, "truncate_decimal({*})", (truncate_decimal,), optional=1),
            Signature((DOUBLE, "integer"), DOUBLE, "truncate_double({*})", (truncate_double,), optional=1),
        ),
        "The value without the digits behind a number of them after the point (0 if left out).",
        (("TRUNC(-2.57E0)", "-2.0E0"), ("TRUNC(2.57, 1)", "2.50"), ("TRUNC(1234.5E0, -2)", "1200.0E0")),
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
    _of_double("CBRT", cube_root, "The cube root.", ("CBRT(-27)", "-3.0E0")),
    _of_double("LN", natural_log, "The natural logarithm.", ("LN(1)", "0.0E0"), fails=True),
    ScalarFunction(
        "LOG",
        (),
        (
            Signature((DOUBLE,), DOUBLE, "common_log({0})", (common_log,), fails=True),
            Signature((DOUBLE, DOUBLE), DOUBLE, "log_to_base({0}, {1})", (log_to_base,), fails=True),
        ),
        "The logarithm to the base 10, as in ksqlDB and PostgreSQL (in Flink it is the natural one: LN), or to the "
        "base that is the first of two operands.",
        (("LOG(1000)", "3.0E0"), ("LOG(2, 8)", "3.0E0")),
    ),
    _of_double("LOG10", common_log, "The logarithm to the base 10.", ("LOG10(0.01)", "-2.0E0"), fails=True),
    _of_double("LOG2", binary_log, "The logarithm to the base 2.", ("LOG2(8)", "3.0E0"), fails=True),
    one("PI", Signature((), DOUBLE, repr(math.pi)), "The number π.", ("ROUND(PI(), 5)", "3.14159E0")),
    one("E", Signature((), DOUBLE, repr(math.e)), "The base of the natural logarithm.", ("ROUND(E(), 5)", "2.71828E0")),
    _of_double("DEGREES", degrees, "An angle in radians as degrees.", ("DEGREES(PI())", "180.0E0"), fails=True),
    _of_double("RADIANS", math.radians, "An angle in degrees as radians.", ("ROUND(RADIANS(180), 5)", "3.14159E0")),
    _of_double("SIN", math.sin, "The sine of an angle in radians.", ("SIN(0)", "0.0E0")),
    _of_double("COS", math.cos, "The cosine of an angle in radians.", ("COS(0)", "1.0E0")),
    _of_double("TAN", math.tan, "The tangent of an angle in radians.", ("TAN(0)", "0.0E0")),
    _of_double(
        "COT", cotangent, "The cotangent of an angle in radians.", ("ROUND(COT(PI() / 4), 5)", "1.0E0"), fails=True
    ),
    _of_double("ASIN", arc_sine, "The angle in radians whose sine it is.", ("DEGREES(ASIN(1))", "90.0E0"), fails=True),
    _of_double(
        "ACOS", arc_cosine, "The angle in radians whose cosine it is.", ("DEGREES(ACOS(0))", "90.0E0"), fails=True
    ),
    _of_double("ATAN", math.atan, "The angle in radians whose tangent it is.", ("DEGREES(ATAN(1))", "45.0E0")),
    one(
        "ATAN2",
        Signature((DOUBLE, DOUBLE), DOUBLE, "atan2({0}, {1})", (math.atan2,)),
        "The angle in radians of the point (x, y), whose y is the first operand.",
        ("DEGREES(ATAN2(-1, 0))", "-90.0E0"),
    ),
    _of_double("SINH", hyperbolic_sine, "The hyperbolic sine.", ("SINH(0)", "0.0E0"), fails=True),
    _of_double("COSH", hyperbolic_cosine, "The hyperbolic cosine.", ("COSH(0)", "1.0E0"), fails=True),
    _of_double("TANH", math.tanh, "The hyperbolic tangent.", ("TANH(0)", "0.0E0")),
    ScalarFunction(
        "GEO_DISTANCE",
        (),
        (
            Signature((DOUBLE,) * 4, DOUBLE, "geo_distance({*})", (geo_distance,), fails=True),
            Signature(
                (DOUBLE, DOUBLE, DOUBLE, DOUBLE, VARCHAR),
                DOUBLE,
                "geo_distance({0}, {1}, {2}, {3}, {4})",
                (geo_distance,),
                fails=True,
                prepared=(4, earth_radius),
            ),
        ),
        "The great-circle distance of two points: latitude and longitude of each in degrees, and a unit, `'km'` (if "
        "left out) or `'miles'`. By the haversine formula over a sphere with a radius of 6,371 km.",
        (
            ("ROUND(GEO_DISTANCE(40.64, -73.78, 33.94, -118.41), 1)", "3974.4E0"),
            ("ROUND(GEO_DISTANCE(40.64, -73.78, 33.94, -118.41, 'miles'), 1)", "2469.7E0"),
        ),
    ),
    one(
        "RANDOM",
        Signature((), DOUBLE, "task.chance.random()"),
        "A number from 0 up to, but not, 1; another one for each row.",
        ("RANDOM() < 1", "TRUE"),
        aliases=("RAND",),
    ),
)

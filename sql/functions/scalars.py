"""The scalar functions, each with its doc and its examples. To add one, add an entry here."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

from headrace.sql.errors import RecordError
from headrace.sql.functions.registry import ScalarFunction, Signature
from headrace.sql.runtime import values
from headrace.sql.types import BIGINT, DATE, DOUBLE, INT, TIMESTAMP, VARCHAR


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


def substring(text: str, start: int, length: int | None = None) -> str:
    """Characters from `start` (the first is 1); positions before the text count, as in PostgreSQL."""
    end = None if length is None else start - 1 + length
    if length is not None and length < 0:
        raise RecordError("domain", "negative length in SUBSTRING")
    return text[max(start - 1, 0) : None if end is None else max(end, 0)]


def left(text: str, count: int) -> str:
    return text[:count]


def right(text: str, count: int) -> str:
    if count < 0:
        return text[-count:]
    return text[-count:] if count else ""


def replace_text(text: str, old: str, new: str) -> str:
    return text.replace(old, new) if old else text


_TRUNCATIONS_MS = {"millisecond": 1, "second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


def date_trunc(unit: str, milliseconds: int) -> int:
    """The start of the unit that holds a moment, in UTC."""
    size = _TRUNCATIONS_MS.get(unit.lower())
    if size is not None:
        return milliseconds - milliseconds % size
    days = milliseconds // values.DAY_MS
    if unit.lower() == "week":
        return (days - (days + 3) % 7) * values.DAY_MS
    year, month, _ = (int(part) for part in values.iso_date(days).split("-"))
    first_months = {"month": month, "quarter": month - (month - 1) % 3, "year": 1}
    first_month = first_months.get(unit.lower())
    if first_month is None:
        raise RecordError("domain", f"'{unit}' is not a unit of time")
    return values.parse_iso_date(f"{year:04d}-{first_month:02d}-01") * values.DAY_MS


def extract_timestamp(unit: str, milliseconds: int) -> int:
    """A field of a moment, in UTC."""
    name = unit.upper()
    within_day = milliseconds % values.DAY_MS
    fields = {
        "EPOCH": milliseconds // 1000,
        "MILLISECOND": within_day % 60_000,
        "SECOND": within_day // 1000 % 60,
        "MINUTE": within_day // 60_000 % 60,
        "HOUR": within_day // 3_600_000,
    }
    if name in fields:
        return fields[name]
    return extract_date(unit, milliseconds // values.DAY_MS)


def extract_date(unit: str, days: int) -> int:
    """A field of a day; Sunday is 0 for DOW."""
    name = unit.upper()
    if name == "DOW":
        return (days + 4) % 7
    if name == "EPOCH":
        return days * 86_400
    year, month, day = (int(part) for part in values.iso_date(days).split("-"))
    match name:
        case "YEAR":
            return year
        case "QUARTER":
            return (month + 2) // 3
        case "MONTH":
            return month
        case "DAY":
            return day
        case "DOY":
            return days - values.parse_iso_date(f"{year:04d}-01-01") + 1
    raise RecordError("domain", f"'{unit}' is not a field of a date")


def _one(
    name: str, signature: Signature, doc: str, *examples: tuple[str, str], aliases: tuple[str, ...] = ()
) -> ScalarFunction:
    return ScalarFunction(name, aliases, (signature,), doc, examples)


_TEXT = (VARCHAR,)

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
    _one("SIGN", Signature(("number",), INT, "sign({0})", (sign,)), "-1, 0 or 1.", ("SIGN(-2)", "-1")),
    _one(
        "SQRT",
        Signature((DOUBLE,), DOUBLE, "square_root({0})", (square_root,), fails=True),
        "The square root.",
        ("SQRT(9)", "3.0E0"),
    ),
    _one(
        "POWER",
        Signature((DOUBLE, DOUBLE), DOUBLE, "power({0}, {1})", (power,), fails=True),
        "The first operand to the power of the second.",
        ("POWER(2, 10)", "1024.0E0"),
        aliases=("POW",),
    ),
    _one(
        "EXP",
        Signature((DOUBLE,), DOUBLE, "exponential({0})", (exponential,), fails=True),
        "e to the power of the operand.",
        ("EXP(0)", "1.0E0"),
    ),
    _one(
        "LN",
        Signature((DOUBLE,), DOUBLE, "natural_log({0})", (natural_log,), fails=True),
        "The natural logarithm.",
        ("LN(1)", "0.0E0"),
    ),
    _one(
        "UPPER",
        Signature(_TEXT, VARCHAR, "{0}.upper()"),
        "The text in upper case.",
        ("UPPER('abc')", "'ABC'"),
        aliases=("UCASE",),
    ),
    _one(
        "LOWER",
        Signature(_TEXT, VARCHAR, "{0}.lower()"),
        "The text in lower case.",
        ("LOWER('ABC')", "'abc'"),
        aliases=("LCASE",),
    ),
    _one(
        "LENGTH",
        Signature(_TEXT, INT, "len({0})"),
        "The number of characters.",
        ("LENGTH('häuser')", "6"),
        aliases=("LEN", "CHAR_LENGTH", "CHARACTER_LENGTH"),
    ),
    _one(
        "CONCAT",
        Signature(_TEXT, VARCHAR, "''.join(({*}))", variadic=True),
        "The texts one after the other; NULL where one is NULL.",
        ("CONCAT('a', 'b', 'c')", "'abc'"),
    ),
    _one(
        "SUBSTRING",
        Signature((VARCHAR, "integer", "integer"), VARCHAR, "substring({*})", (substring,), optional=1, fails=True),
        "Characters from a position (the first is 1), all of them or a number of them.",
        ("SUBSTRING('stream', 2, 3)", "'tre'"),
        ("SUBSTRING('stream' FROM 4)", "'eam'"),
        aliases=("SUBSTR",),
    ),
    _one(
        "LEFT",
        Signature((VARCHAR, "integer"), VARCHAR, "left({0}, {1})", (left,)),
        "The first characters; a negative number leaves that many out at the end.",
        ("LEFT('stream', 2)", "'st'"),
    ),
    _one(
        "RIGHT",
        Signature((VARCHAR, "integer"), VARCHAR, "right({0}, {1})", (right,)),
        "The last characters; a negative number leaves that many out at the start.",
        ("RIGHT('stream', 2)", "'am'"),
    ),
    _one("TRIM", Signature(_TEXT, VARCHAR, "{0}.strip(' ')"), "Without spaces at both ends.", ("TRIM('  a ')", "'a'")),
    _one(
        "LTRIM",
        Signature(_TEXT, VARCHAR, "{0}.lstrip(' ')"),
        "Without spaces at the start.",
        ("LTRIM('  a')", "'a'"),
    ),
    _one("RTRIM", Signature(_TEXT, VARCHAR, "{0}.rstrip(' ')"), "Without spaces at the end.", ("RTRIM('a  ')", "'a'")),
    _one(
        "REPLACE",
        Signature((VARCHAR, VARCHAR, VARCHAR), VARCHAR, "replace_text({*})", (replace_text,)),
        "Every occurrence of the second text in the first, replaced by the third.",
        ("REPLACE('banana', 'an', '-')", "'b--a'"),
    ),
    _one(
        "POSITION",
        Signature((VARCHAR, VARCHAR), INT, "({0}.find({1}) + 1)"),
        "Where the second text starts in the first (the first character is 1); 0 where it does not occur.",
        ("INSTR('stream', 'ea')", "4"),
        ("POSITION('ea' IN 'stream')", "4"),
        aliases=("INSTR",),
    ),
    ScalarFunction(
        "GREATEST",
        (),
        (Signature(("any",), None, "max({*})", variadic=True, skips_null=True),),
        "The largest of the values that are not NULL.",
        (("GREATEST(1, NULL, 3)", "3"),),
    ),
    ScalarFunction(
        "LEAST",
        (),
        (Signature(("any",), None, "min({*})", variadic=True, skips_null=True),),
        "The smallest of the values that are not NULL.",
        (("LEAST(2, NULL, 3)", "2"),),
    ),
    ScalarFunction(
        "EXTRACT",
        (),
        (
            Signature((VARCHAR, TIMESTAMP), BIGINT, "extract_timestamp({0}, {1})", (extract_timestamp,), fails=True),
            Signature((VARCHAR, DATE), BIGINT, "extract_date({0}, {1})", (extract_date,), fails=True),
        ),
        "A field of a time: YEAR, QUARTER, MONTH, DAY, HOUR, MINUTE, SECOND, MILLISECOND, DOW, DOY, EPOCH.",
        (
            ("EXTRACT(HOUR FROM CAST('2013-01-05 17:30:00' AS TIMESTAMP))", "17"),
            ("EXTRACT(DOW FROM CAST('2013-01-06' AS DATE))", "0"),
        ),
    ),
    _one(
        "DATE_TRUNC",
        Signature((VARCHAR, TIMESTAMP), TIMESTAMP, "date_trunc({0}, {1})", (date_trunc,), fails=True),
        "The start of the unit (second, minute, hour, day, week, month, quarter, year) that holds a time, in UTC.",
        ("DATE_TRUNC('hour', CAST('2013-01-05 17:30:00' AS TIMESTAMP))", "CAST('2013-01-05 17:00:00' AS TIMESTAMP)"),
    ),
)

BY_NAME: dict[str, ScalarFunction] = {name: f for f in FUNCTIONS for name in (f.name, *f.aliases)}
REWRITTEN = ("COALESCE", "IFNULL", "NVL", "NULLIF", "IF", "MOD")
"""Functions that are other expressions by another name; the binder writes them out."""

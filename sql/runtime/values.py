"""Operations on values that generated code calls: exact arithmetic, conversions between types, text forms.

Values are as in headrace.sql.types. What cannot be done raises RecordError; NULL never reaches these functions.
"""

from __future__ import annotations

import decimal
import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from typing import NoReturn

from headrace.sql.errors import RecordError

INT_MIN, INT_MAX = -(2**31), 2**31 - 1
BIGINT_MIN, BIGINT_MAX = -(2**63), 2**63 - 1
EVENT_TIME_MIN, EVENT_TIME_MAX = -(2**62), 2**62
"""Room is left for windows, delays and the two infinities of watermarks."""
DAY_MS = 86_400_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# Wide enough that sums and products of 38-digit decimals are exact.
EXACT = decimal.Context(prec=120, rounding=decimal.ROUND_HALF_UP, Emin=-9999, Emax=9999)
decimal_add, decimal_subtract, decimal_multiply = EXACT.add, EXACT.subtract, EXACT.multiply


def overflow(type_name: str) -> NoReturn:
    raise RecordError("overflow", f"value out of range of {type_name}")


def divide_integer(left: int, right: int) -> int:
    """Integer division that truncates toward zero."""
    if right == 0:
        raise RecordError("division_by_zero", "division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def modulo_integer(left: int, right: int) -> int:
    """The remainder with the sign of the dividend."""
    if right == 0:
        raise RecordError("division_by_zero", "division by zero")
    remainder = abs(left) % abs(right)
    return -remainder if left < 0 else remainder


def divide_double(left: float, right: float) -> float:
    if right == 0.0:
        raise RecordError("division_by_zero", "division by zero")
    return left / right


def modulo_double(left: float, right: float) -> float:
    if right == 0.0:
        raise RecordError("division_by_zero", "division by zero")
    return math.fmod(left, right)


def divide_decimal(left: Decimal, right: Decimal) -> Decimal:
    if not right:
        raise RecordError("division_by_zero", "division by zero")
    return EXACT.divide(left, right)


def modulo_decimal(left: Decimal, right: Decimal) -> Decimal:
    if not right:
        raise RecordError("division_by_zero", "division by zero")
    return EXACT.remainder(left, right)


@cache
def _unit(scale: int) -> Decimal:
    return Decimal(1).scaleb(-scale)


def fit_decimal(value: Decimal, precision: int, scale: int) -> Decimal:
    """The value rounded half up to a scale; RecordError where it has more digits than the precision."""
    try:
        fitted = EXACT.quantize(value, _unit(scale))
    except decimal.InvalidOperation:  # far too large, or no number
        overflow(f"DECIMAL({precision}, {scale})")
    if not fitted:
        return fitted.copy_abs()  # one zero, as grouping keys need it
    if fitted.adjusted() >= precision - scale:
        overflow(f"DECIMAL({precision}, {scale})")
    return fitted


def exact_decimal(value: Decimal, precision: int, scale: int) -> Decimal:
    """The value at a scale, refused where that would lose digits (what a record of a source brings)."""
    fitted = fit_decimal(value, precision, scale)
    if fitted != value:
        raise RecordError("type", f"{value} has more digits than DECIMAL({precision}, {scale}) holds")
    return fitted


# Text forms


def iso_timestamp(milliseconds: int) -> str:
    """ISO-8601 in UTC without a zone, as Flink writes TIMESTAMP; the fraction only where there is one."""
    try:
        moment = _EPOCH + milliseconds * _MILLISECOND
    except OverflowError:
        overflow("TIMESTAMP")
    text = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return f"{text}.{milliseconds % 1000:03d}" if milliseconds % 1000 else text


def parse_iso_timestamp(text: str) -> int:
    """Milliseconds of an ISO-8601 text (date alone, space or T, with or without a zone; without one it is UTC)."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise RecordError("cast", f"'{text}' is not a TIMESTAMP") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def iso_date(days: int) -> str:
    try:
        return date.fromordinal(days + _EPOCH_DAY).isoformat()
    except (ValueError, OverflowError):
        overflow("DATE")


def parse_iso_date(text: str) -> int:
    """Days since the epoch of `YYYY-MM-DD`."""
    try:
        return date.fromisoformat(text.strip()).toordinal() - _EPOCH_DAY
    except ValueError:
        raise RecordError("cast", f"'{text}' is not a DATE") from None


def text_of_boolean(value: bool) -> str:  # noqa: FBT001
    return "true" if value else "false"


def text_of_double(value: float) -> str:
    return repr(value)


def text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise RecordError("cast", "the bytes are not UTF-8") from None


def text_of_timestamp(milliseconds: int) -> str:
    return iso_timestamp(milliseconds).replace("T", " ")


def text_of_decimal(value: Decimal) -> str:
    return format(value, "f")


# Casts from text and between numbers

_TRUE = frozenset(("true", "t", "yes", "y", "on", "1"))
_FALSE = frozenset(("false", "f", "no", "n", "off", "0"))
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")
_INTEGER = re.compile(r"[+-]?\d+")


def parse_boolean(text: str) -> bool:
    folded = text.strip().lower()
    if folded in _TRUE:
        return True
    if folded in _FALSE:
        return False
    raise RecordError("cast", f"'{text}' is not a BOOLEAN")


def _parse_integer(text: str, wanted: str) -> int:
    stripped = text.strip()
    if not stripped.isascii() or not _INTEGER.fullmatch(stripped):
        raise RecordError("cast", f"'{text}' is not {wanted}")
    return int(stripped) if len(stripped) <= 40 else overflow("BIGINT")


def parse_bigint(text: str) -> int:
    return in_bigint(_parse_integer(text, "a BIGINT"))


def parse_int(text: str) -> int:
    return in_int(_parse_integer(text, "an INT"))


def parse_double(text: str) -> float:
    stripped = text.strip()
    if not stripped.isascii() or not _NUMBER.fullmatch(stripped):
        raise RecordError("cast", f"'{text}' is not a DOUBLE")
    return finite(float(stripped))


def decimal_of_text(text: str) -> Decimal:
    stripped = text.strip()
    if not stripped.isascii() or not _NUMBER.fullmatch(stripped):
        raise RecordError("cast", f"'{text}' is not a DECIMAL")
    return Decimal(stripped)


def parse_decimal(text: str, precision: int, scale: int) -> Decimal:
    return fit_decimal(decimal_of_text(text), precision, scale)


def finite(value: float) -> float:
    return value if math.isfinite(value) else overflow("DOUBLE")


def sum_double(values: list[float]) -> float | None:
    """The sum, as exact as a DOUBLE can be, whatever the order; NULL over nothing."""
    try:
        return math.fsum(values) if values else None
    except OverflowError:
        overflow("DOUBLE")


def mean_double(values: list[float]) -> float | None:
    total = sum_double(values)
    return None if total is None else total / len(values)


def in_bigint(value: int) -> int:
    return value if BIGINT_MIN <= value <= BIGINT_MAX else overflow("BIGINT")


def in_int(value: int) -> int:
    return value if INT_MIN <= value <= INT_MAX else overflow("INT")


def integer_of_double(value: float) -> int:
    """The nearest integer, halves to even (as PostgreSQL and DuckDB cast)."""
    return round(value)


def integer_of_decimal(value: Decimal) -> int:
    return int(value.to_integral_value(rounding=decimal.ROUND_HALF_UP))


def decimal_of_double(value: float, precision: int, scale: int) -> Decimal:
    return fit_decimal(Decimal(repr(value)), precision, scale)


def decimal_of_integer(value: int, precision: int, scale: int) -> Decimal:
    return fit_decimal(Decimal(value), precision, scale)


def days_of_timestamp(milliseconds: int) -> int:
    return milliseconds // DAY_MS


# LIKE


@lru_cache(maxsize=1000)
def like_pattern(pattern: str, escape: str | None, *, case_sensitive: bool) -> re.Pattern[str]:
    """LIKE's pattern as a regular expression; RecordError where the escape character ends it."""
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if escape is not None and character == escape:
            following = next(characters, None)
            if following is None:
                raise RecordError("pattern", "a LIKE pattern cannot end with its escape character")
            parts.append(re.escape(following))
        elif character == "%":
            parts.append(".*")
        elif character == "_":
            parts.append(".")
        else:
            parts.append(re.escape(character))
    return re.compile("".join(parts), re.DOTALL if case_sensitive else re.DOTALL | re.IGNORECASE)

"""Scalar functions over times."""

from __future__ import annotations

from headrace.sql.errors import RecordError
from headrace.sql.functions.registry import ScalarFunction, Signature, one
from headrace.sql.runtime import values
from headrace.sql.types import BIGINT, DATE, TIMESTAMP, VARCHAR

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


FUNCTIONS: tuple[ScalarFunction, ...] = (
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
    one(
        "DATE_TRUNC",
        Signature((VARCHAR, TIMESTAMP), TIMESTAMP, "date_trunc({0}, {1})", (date_trunc,), fails=True),
        "The start of the unit (second, minute, hour, day, week, month, quarter, year) that holds a time, in UTC.",
        ("DATE_TRUNC('hour', CAST('2013-01-05 17:30:00' AS TIMESTAMP))", "CAST('2013-01-05 17:00:00' AS TIMESTAMP)"),
    ),
)

"""Calendar, clock and time zones: what generated code calls for dates, times of day, timestamps and intervals.

Values are as in headrace.sql.types: days or milliseconds since the epoch, milliseconds since midnight, milliseconds or
months of an interval. The calendar is the Gregorian one, years 1 to 9999; beyond it RecordError.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headrace.sql.errors import RecordError
from headrace.sql.runtime.values import (
    DAY_MS,
    finite,
    in_bigint,
    overflow,
    parse_iso_timestamp,
    text_of_timestamp,
)

EPOCH_DAY = date(1970, 1, 1).toordinal()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
_MONTH_SECONDS, _YEAR_SECONDS = 30 * 86_400, 31_557_600
"""What a month and a year count for in an interval's seconds, as in PostgreSQL (365.25 days)."""
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d+))?)?", re.ASCII)


def calendar_day(days: int) -> date:
    try:
        return date.fromordinal(days + EPOCH_DAY)
    except (ValueError, OverflowError):
        overflow("DATE")


def days_of(year: int, month: int, day: int) -> int:
    """Days since the epoch; RecordError outside of the calendar."""
    try:
        return date(year, month, day).toordinal() - EPOCH_DAY
    except (ValueError, OverflowError):
        overflow("DATE")


def moment_of(milliseconds: int) -> datetime:
    try:
        return EPOCH + milliseconds * MILLISECOND
    except OverflowError:
        overflow("TIMESTAMP")


# Text forms


def iso_time(milliseconds: int) -> str:
    """`HH:MM:SS`, the fraction only where there is one."""
    seconds, fraction = divmod(milliseconds, 1000)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{fraction:03d}" if fraction else text


def parse_iso_time(text: str) -> int:
    """Milliseconds since midnight of `HH:MM[:SS[.f]]`."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise RecordError("cast", f"'{text}' is not a TIME")
    hour, minute, second, fraction = found.groups("0")
    return ((int(hour) * 60 + int(minute)) * 60 + int(second)) * 1000 + int(fraction.ljust(3, "0")[:3])


def text_of_instant(milliseconds: int) -> str:
    return text_of_timestamp(milliseconds) + "Z"


def text_of_interval(milliseconds: int) -> str:
    """PostgreSQL's text, hours counted up to a day: `1 day 02:03:04.5`."""
    days, rest = divmod(abs(milliseconds), DAY_MS)
    sign = "-" if milliseconds < 0 else ""
    parts = [f"{sign}{days} {'day' if days == 1 and not sign else 'days'}"] if days else []
    if rest or not days:
        parts.append(f"{sign}{iso_time(rest).rstrip('0') if rest % 1000 else iso_time(rest)}")
    return " ".join(parts)


def text_of_months(months: int) -> str:
    """PostgreSQL's text: `1 year 2 mons`."""
    years, rest = divmod(abs(months), 12)
    sign = "-" if months < 0 else ""
    parts = [f"{sign}{years} {'year' if years == 1 and not sign else 'years'}"] if years else []
    if rest:
        parts.append(f"{sign}{rest} {'mon' if rest == 1 and not sign else 'mons'}")
    return " ".join(parts) or "00:00:00"


# Arithmetic


def add_months(milliseconds: int, months: int) -> int:
    """The same day and time of another month, or its last day where it has no such day."""
    days, rest = divmod(milliseconds, DAY_MS)
    return add_months_to_day(days, months) * DAY_MS + rest


def add_months_to_day(days: int, months: int) -> int:
    start = calendar_day(days)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    first = days_of(year, month + 1, 1)
    return first + min(start.day, _month_length(first, month + 1)) - 1


def _month_length(first: int, month: int) -> int:
    """Days of the month (1 to 12) that starts at `first`."""
    if month != 2:
        return 30 if month in (4, 6, 9, 11) else 31
    year = calendar_day(first).year
    return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28


def multiply_interval(milliseconds: int, factor: float) -> int:
    """To the nearest millisecond."""
    return in_bigint(round(finite(milliseconds * factor)))


def divide_interval(milliseconds: int, divisor: float) -> int:
    """To the nearest millisecond."""
    if not divisor:
        raise RecordError("division_by_zero", "division by zero")
    return in_bigint(round(finite(milliseconds / divisor)))


def whole_units(start: int, end: int, size: int) -> int:
    """How often a unit of so many milliseconds fits between two moments; negative where the end comes first."""
    return (end - start) // size if end >= start else -((start - end) // size)


def whole_months(start: int, end: int, size: int) -> int:
    """How often so many months fit between two moments; negative where the end comes first."""
    if end < start:
        return -whole_months(end, start, size)
    first, last = calendar_day(start // DAY_MS), calendar_day(end // DAY_MS)
    months = (last.year - first.year) * 12 + last.month - first.month
    if months and add_months(start, months) > end:
        months -= 1
    return months // size


# Fields


def year_of(days: int) -> int:
    return calendar_day(days).year


def quarter_of(days: int) -> int:
    return (calendar_day(days).month + 2) // 3


def month_of(days: int) -> int:
    return calendar_day(days).month


def day_of(days: int) -> int:
    return calendar_day(days).day


def day_of_year(days: int) -> int:
    day = calendar_day(days)
    return day.toordinal() - date(day.year, 1, 1).toordinal() + 1


def iso_week_of(days: int) -> int:
    return calendar_day(days).isocalendar().week


def iso_year_of(days: int) -> int:
    return calendar_day(days).isocalendar().year


def interval_field(milliseconds: int, size: int, limit: int) -> int:
    """How many of a unit an interval has beside larger units; with the interval's sign."""
    amount = abs(milliseconds) // size % limit
    return amount if milliseconds >= 0 else -amount


def months_field(months: int, size: int, limit: int) -> int:
    amount = abs(months) // size % limit
    return amount if months >= 0 else -amount


def seconds_of_months(months: int) -> float:
    years, rest = divmod(abs(months), 12)
    seconds = float(years * _YEAR_SECONDS + rest * _MONTH_SECONDS)
    return seconds if months >= 0 else -seconds


# Rounding to units


def month_floor(milliseconds: int, size: int) -> int:
    """The start of the so many months, counted from January, that hold a moment."""
    return month_floor_of_day(milliseconds // DAY_MS, size) * DAY_MS


def month_floor_of_day(days: int, size: int) -> int:
    day = calendar_day(days)
    return days_of(day.year, day.month - (day.month - 1) % size, 1)


def month_ceil(milliseconds: int, size: int) -> int:
    start = month_floor(milliseconds, size)
    return start if start == milliseconds else add_months(start, size)


def bucket(width: int, milliseconds: int, origin: int) -> int:
    """The start of the bucket that holds a moment; buckets of a width lie side by side from an origin."""
    if width <= 0:
        raise RecordError("domain", "the width of a bucket is above zero")
    return in_bigint(milliseconds - (milliseconds - origin) % width)


def month_bucket(width: int, milliseconds: int, origin: int) -> int:
    """Of the month of the origin; its day and time do not count."""
    if width <= 0:
        raise RecordError("domain", "the width of a bucket is above zero")
    day, start = calendar_day(milliseconds // DAY_MS), calendar_day(origin // DAY_MS)
    months = (day.year - start.year) * 12 + day.month - start.month
    return add_months(days_of(start.year, start.month, 1) * DAY_MS, months - months % width)


# Time zones


@lru_cache(maxsize=1000)
def zone(name: str) -> ZoneInfo:
    """The zone of a name of the IANA database."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RecordError("domain", f"`{name}` is not a time zone") from None


def to_zone(milliseconds: int, name: str) -> int:
    """What clocks in a zone show at a moment, as if it were UTC."""
    return milliseconds + _offset(moment_of(milliseconds), name)


def from_zone(milliseconds: int, name: str) -> int:
    """The moment at which clocks in a zone show a time.

    As in PostgreSQL: of a time that clocks skip, what they would show had they not been changed; of a time that they
    show twice, the second.
    """
    local = moment_of(milliseconds).replace(tzinfo=zone(name))
    first, second = local.utcoffset(), local.replace(fold=1).utcoffset()
    assert first is not None
    assert second is not None
    return milliseconds - min(first, second) // MILLISECOND


def between_zones(milliseconds: int, source: str, target: str) -> int:
    return to_zone(from_zone(milliseconds, source), target)


def _offset(moment: datetime, name: str) -> int:
    try:
        offset = moment.astimezone(zone(name)).utcoffset()
    except OverflowError:
        overflow("TIMESTAMP")
    assert offset is not None
    return offset // MILLISECOND


def text_between_zones(text: str, source: str, target: str) -> str:
    return text_of_timestamp(between_zones(parse_iso_timestamp(text), source, target))


# Numbers that stand for moments


def instant(number: int, precision: int) -> int:
    """Milliseconds of seconds (precision 0) or milliseconds (3)."""
    if precision not in (0, 3):
        raise RecordError("domain", "a precision is 0 (seconds) or 3 (milliseconds)")
    return in_bigint(number * 1000) if precision == 0 else number


def double_instant(seconds: float) -> int:
    """Milliseconds of seconds, to the nearest."""
    return in_bigint(round(finite(seconds * 1000)))

"""Scalar functions over times: the present, rounding, differences, time zones, numbers that stand for times."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from headrace.sql.errors import RecordError
from headrace.sql.functions import time_fields, time_texts
from headrace.sql.functions.registry import Returns, ScalarFunction, Signature, one
from headrace.sql.intervals import UNITS, UNITS_MONTHS, UNITS_MS, unit_of
from headrace.sql.runtime import times, values
from headrace.sql.types import (
    BIGINT,
    DATE,
    INT,
    INTERVAL,
    MONTHS,
    TIME,
    TIMESTAMP,
    TIMESTAMP_LTZ,
    VARCHAR,
)

_AT = "TIMESTAMP '2013-01-05 17:30:00'"
_MONDAY_MS = 3 * values.DAY_MS
"""From the Monday before the epoch to the epoch."""
_ORIGIN_MS, _MONTH_ORIGIN_MS = 946_857_600_000, 946_684_800_000
"""2000-01-03, a Monday, and 2000-01-01: where TIME_BUCKET begins to count, as in TimescaleDB and DuckDB."""


def _unit(word: str, known: tuple[str, ...] = UNITS) -> str:
    unit = unit_of(word)
    if unit is None or unit not in known:
        raise RecordError("domain", f"`{word}` is not a unit here; known: {' '.join(known)}")
    return unit


@lru_cache(maxsize=100)
def floor_to(word: str) -> Callable[[int], int]:
    """What gives the start of the unit that holds a moment."""
    unit = _unit(word)
    if unit in UNITS_MONTHS:
        months = UNITS_MONTHS[unit]
        return lambda milliseconds: times.month_floor(milliseconds, months)
    size, offset = UNITS_MS[unit], _MONDAY_MS if unit == "WEEK" else 0
    return lambda milliseconds: milliseconds - (milliseconds + offset) % size


@lru_cache(maxsize=100)
def ceil_to(word: str) -> Callable[[int], int]:
    """What gives the start of the unit that begins at a moment, or next after it."""
    unit = _unit(word)
    if unit in UNITS_MONTHS:
        months = UNITS_MONTHS[unit]
        return lambda milliseconds: times.month_ceil(milliseconds, months)
    size, offset = UNITS_MS[unit], _MONDAY_MS if unit == "WEEK" else 0
    return lambda milliseconds: milliseconds + -(milliseconds + offset) % size


_DAY_UNITS = ("DAY", "WEEK", *UNITS_MONTHS)
_CLOCK_UNITS = ("MILLISECOND", "SECOND", "MINUTE", "HOUR")


@lru_cache(maxsize=100)
def floor_day_to(word: str) -> Callable[[int], int]:
    floor = floor_to(_unit(word, _DAY_UNITS))
    return lambda days: floor(days * values.DAY_MS) // values.DAY_MS


@lru_cache(maxsize=100)
def ceil_day_to(word: str) -> Callable[[int], int]:
    ceil = ceil_to(_unit(word, _DAY_UNITS))
    return lambda days: ceil(days * values.DAY_MS) // values.DAY_MS


@lru_cache(maxsize=100)
def floor_clock_to(word: str) -> Callable[[int], int]:
    return floor_to(_unit(word, _CLOCK_UNITS))


@lru_cache(maxsize=100)
def ceil_clock_to(word: str) -> Callable[[int], int]:
    """Beyond the last unit of the day comes midnight."""
    ceil = ceil_to(_unit(word, _CLOCK_UNITS))
    return lambda milliseconds: ceil(milliseconds) % values.DAY_MS


@lru_cache(maxsize=100)
def units_between(word: str) -> Callable[[int, int], int]:
    """What counts the whole units from one moment to another."""
    unit = _unit(word)
    if unit in UNITS_MONTHS:
        months = UNITS_MONTHS[unit]
        return lambda start, end: times.whole_months(start, end, months)
    size = UNITS_MS[unit]
    return lambda start, end: times.whole_units(start, end, size)


def _rounding(
    moment: Callable[[str], object], day: Callable[[str], object], clock: Callable[[str], object]
) -> tuple[Signature, ...]:
    """Of (time, unit)."""
    return (
        Signature((DATE, VARCHAR), DATE, "{1}({0})", fails=True, prepared=(1, day)),
        Signature((TIME, VARCHAR), TIME, "{1}({0})", prepared=(1, clock)),
        Signature((TIMESTAMP, VARCHAR), lambda types: types[0], "{1}({0})", fails=True, prepared=(1, moment)),
    )


def _buckets(width: object, function: Callable[..., int], origin_ms: int) -> tuple[Signature, ...]:
    name, same = function.__name__, _type_of_second
    assert width in (INTERVAL, MONTHS)
    parameters = (INTERVAL if width is INTERVAL else MONTHS, TIMESTAMP)
    return (
        Signature(parameters, same, f"{name}({{0}}, {{1}}, {origin_ms})", (function,), fails=True),
        Signature((*parameters, TIMESTAMP), same, f"{name}({{0}}, {{1}}, {{2}})", (function,), fails=True),
    )


_type_of_second: Returns = lambda types: types[1]  # noqa: E731


_PRESENT = (
    one(
        "NOW",
        Signature((), TIMESTAMP_LTZ, "task.clock.now_ms"),
        "The wall time at which the batch of the record began to be processed. Results that use it are not repeatable.",
        ("NOW() > TIMESTAMP '2020-01-01 00:00:00'", "TRUE"),
        aliases=("CURRENT_TIMESTAMP", "PROCTIME"),
    ),
    one(
        "LOCALTIMESTAMP",
        Signature((), TIMESTAMP, "task.clock.now_ms"),
        "As NOW, as a TIMESTAMP (UTC).",
        ("LOCALTIMESTAMP > TIMESTAMP '2020-01-01 00:00:00'", "TRUE"),
    ),
    one(
        "CURRENT_DATE",
        Signature((), DATE, "task.clock.now_ms // 86400000"),
        "The date of NOW, in UTC.",
        ("CURRENT_DATE > DATE '2020-01-01'", "TRUE"),
    ),
    one(
        "CURRENT_TIME",
        Signature((), TIME, "task.clock.now_ms % 86400000"),
        "The time of day of NOW, in UTC.",
        ("CURRENT_TIME >= TIME '00:00:00'", "TRUE"),
        aliases=("LOCALTIME",),
    ),
)
_ROUNDED = (
    one(
        "DATE_TRUNC",
        Signature((VARCHAR, TIMESTAMP), _type_of_second, "{0}({1})", fails=True, prepared=(0, floor_to)),
        "The start of the unit (millisecond, second, minute, hour, day, week, month, quarter, year) that holds a time, "
        "in UTC; weeks start on Monday.",
        ("DATE_TRUNC('hour', CAST('2013-01-05 17:30:00' AS TIMESTAMP))", "CAST('2013-01-05 17:00:00' AS TIMESTAMP)"),
        ("DATE_TRUNC('week', DATE '2013-01-05')", "TIMESTAMP '2012-12-31 00:00:00'"),
    ),
    ScalarFunction(
        "TIME_FLOOR",
        (),
        _rounding(floor_to, floor_day_to, floor_clock_to),
        "As DATE_TRUNC, of the type of the time; written `FLOOR(t TO unit)`.",
        (
            (f"FLOOR({_AT} TO MONTH)", "TIMESTAMP '2013-01-01 00:00:00'"),
            ("TIME_FLOOR(DATE '2013-01-05', 'year')", "DATE '2013-01-01'"),
        ),
    ),
    ScalarFunction(
        "TIME_CEIL",
        (),
        _rounding(ceil_to, ceil_day_to, ceil_clock_to),
        "The start of the unit that begins at a time, or next after it; written `CEIL(t TO unit)`.",
        (
            (f"CEIL({_AT} TO HOUR)", "TIMESTAMP '2013-01-05 18:00:00'"),
            ("TIME_CEIL(TIME '17:30:00', 'hour')", "TIME '18:00:00'"),
        ),
    ),
    ScalarFunction(
        "TIME_BUCKET",
        ("DATE_BIN",),
        (
            *_buckets(INTERVAL, times.bucket, _ORIGIN_MS),
            *_buckets(MONTHS, times.month_bucket, _MONTH_ORIGIN_MS),
        ),
        "The start of the bucket of a width that holds a time. Buckets are counted from a time that may be given; else "
        "from Monday 2000-01-03, those of months from 2000-01-01.",
        (
            (f"TIME_BUCKET(INTERVAL '1' HOUR, {_AT})", "TIMESTAMP '2013-01-05 17:00:00'"),
            (
                f"TIME_BUCKET(INTERVAL '1' HOUR, {_AT}, TIMESTAMP '2000-01-01 00:15:00')",
                "TIMESTAMP '2013-01-05 17:15:00'",
            ),
            (f"TIME_BUCKET(INTERVAL '6' MONTH, {_AT})", "TIMESTAMP '2013-01-01 00:00:00'"),
        ),
    ),
)
_DIFFERENCES = (
    ScalarFunction(
        "TIMESTAMPDIFF",
        ("DATEDIFF",),
        (
            Signature(
                (VARCHAR, TIMESTAMP, TIMESTAMP), BIGINT, "{0}({1}, {2})", fails=True, prepared=(0, units_between)
            ),
            Signature((VARCHAR, TIME, TIME), BIGINT, "{0}({1}, {2})", fails=True, prepared=(0, units_between)),
        ),
        "Whole units from one time to another, negative where that is earlier: `TIMESTAMPDIFF(DAY, a, b)`.",
        (
            (f"TIMESTAMPDIFF(HOUR, {_AT}, TIMESTAMP '2013-01-06 17:29:00')", "23"),
            (f"TIMESTAMPDIFF(MONTH, {_AT}, DATE '2012-11-01')", "-2"),
        ),
    ),
)
_ZONES = (
    ScalarFunction(
        "AT_TIME_ZONE",
        (),
        (
            Signature((TIMESTAMP_LTZ, "zone"), TIMESTAMP, "to_zone({0}, {1})", (times.to_zone,), fails=True),
            Signature((TIMESTAMP, "zone"), TIMESTAMP_LTZ, "from_zone({0}, {1})", (times.from_zone,), fails=True),
        ),
        "Written `t AT TIME ZONE zone`. Of a TIMESTAMP_LTZ, what clocks in the zone show then; of a TIMESTAMP, the "
        "TIMESTAMP_LTZ at which they show it.",
        (
            (f"AT_TIME_ZONE({_AT}, 'Asia/Tokyo')", "CAST('2013-01-05 08:30:00Z' AS TIMESTAMP_LTZ)"),
            (
                "CAST('2013-01-05 17:30:00Z' AS TIMESTAMP_LTZ) AT TIME ZONE 'Asia/Tokyo'",
                "TIMESTAMP '2013-01-06 02:30:00'",
            ),
        ),
    ),
    ScalarFunction(
        "CONVERT_TZ",
        (),
        (
            Signature(
                (TIMESTAMP, "zone", "zone"),
                TIMESTAMP,
                "between_zones({0}, {1}, {2})",
                (times.between_zones,),
                fails=True,
            ),
            Signature(
                (VARCHAR, "zone", "zone"),
                VARCHAR,
                "text_between_zones({0}, {1}, {2})",
                (times.text_between_zones,),
                fails=True,
            ),
        ),
        "What clocks in the second zone show when those in the first show a time; of a text in ISO 8601, a text.",
        (
            (f"CONVERT_TZ({_AT}, 'UTC', 'America/New_York')", "TIMESTAMP '2013-01-05 12:30:00'"),
            ("CONVERT_TZ('2013-01-05 17:30:00', 'UTC', 'America/New_York')", "'2013-01-05 12:30:00'"),
        ),
    ),
)
_NUMBERS = (
    ScalarFunction(
        "FROM_UNIXTIME",
        (),
        (Signature((BIGINT,), TIMESTAMP, "{0}"), Signature((TIMESTAMP,), TIMESTAMP, "{0}")),
        "Epoch milliseconds as a TIMESTAMP, as in ksqlDB (Flink's takes seconds and gives a text).",
        (("FROM_UNIXTIME(1357407000000)", _AT),),
    ),
    ScalarFunction(
        "UNIX_TIMESTAMP",
        (),
        (Signature((TIMESTAMP,), BIGINT, "{0}"), Signature((), BIGINT, "task.clock.now_ms")),
        "The epoch milliseconds of a time, or of NOW, as in ksqlDB (Flink's gives seconds: see EPOCH).",
        ((f"UNIX_TIMESTAMP({_AT})", "1357407000000"),),
    ),
    ScalarFunction(
        "TO_TIMESTAMP_LTZ",
        (),
        (
            Signature((BIGINT, INT), TIMESTAMP_LTZ, "instant({0}, {1})", (times.instant,), fails=True),
            Signature((BIGINT,), TIMESTAMP_LTZ, "{0}"),
            *time_texts.reading(TIMESTAMP_LTZ),
        ),
        "A number of milliseconds (precision 3) or seconds (0) since 1970, or a text by a pattern.",
        (
            ("TO_TIMESTAMP_LTZ(1357407000, 0)", "CAST('2013-01-05 17:30:00Z' AS TIMESTAMP_LTZ)"),
            ("TO_TIMESTAMP_LTZ(1357407000000)", "CAST('2013-01-05 17:30:00Z' AS TIMESTAMP_LTZ)"),
        ),
    ),
    one(
        "UNIX_DATE", Signature((DATE,), INT, "{0}"), "Days since 1970-01-01.", ("UNIX_DATE(DATE '2013-01-05')", "15710")
    ),
    one(
        "FROM_DAYS",
        Signature((INT,), DATE, "{0}"),
        "The date so many days after 1970-01-01.",
        ("FROM_DAYS(15710)", "DATE '2013-01-05'"),
    ),
)
FUNCTIONS: tuple[ScalarFunction, ...] = (
    *_PRESENT,
    *time_fields.FUNCTIONS,
    *_ROUNDED,
    *_DIFFERENCES,
    *_ZONES,
    *_NUMBERS,
    *time_texts.FUNCTIONS,
)

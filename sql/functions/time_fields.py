"""Scalar functions that give a field of a time: what EXTRACT names."""

from __future__ import annotations

from collections.abc import Callable

from headrace.sql.functions.registry import ScalarFunction, Signature
from headrace.sql.runtime import times
from headrace.sql.types import BIGINT, DATE, DOUBLE, INTERVAL, MONTHS, TIME, TIMESTAMP

_AT = "TIMESTAMP '2013-01-05 17:30:09.25'"
_ALL = 1 << 62
"""No larger unit takes any of it."""


def _day_field(
    name: str, aliases: tuple[str, ...], function: Callable[[int], int] | str, doc: str, example: str, *more: Signature
) -> ScalarFunction:
    """A field that depends on the day alone: `function` gives it of a day, or is a template over one."""
    names = () if isinstance(function, str) else (function,)
    template = function if isinstance(function, str) else f"{function.__name__}({{day}})"
    signatures = (
        Signature((DATE,), BIGINT, template.replace("{day}", "{0}"), names, fails=bool(names)),
        Signature((TIMESTAMP,), BIGINT, template.replace("{day}", "{0} // 86400000"), names, fails=bool(names)),
        *more,
    )
    return ScalarFunction(name, aliases, signatures, doc, ((f"{name}({_AT})", example),))


def _clock_field(name: str, size: int, limit: int, largest: int, doc: str, example: str) -> ScalarFunction:
    """A field of the time of day: how many of `size` milliseconds there are beside `limit` of them."""
    of_interval = f"interval_field({{0}}, {size}, {largest})"
    return ScalarFunction(
        name,
        (),
        (
            Signature((TIMESTAMP,), BIGINT, f"{{0}} // {size} % {limit}"),
            Signature((TIME,), BIGINT, f"{{0}} // {size} % {limit}"),
            Signature((INTERVAL,), BIGINT, of_interval, (times.interval_field,)),
        ),
        doc,
        ((f"{name}({_AT})", example),),
    )


def _months(size: int, limit: int) -> Signature:
    return Signature((MONTHS,), BIGINT, f"months_field({{0}}, {size}, {limit})", (times.months_field,))


FUNCTIONS: tuple[ScalarFunction, ...] = (
    _day_field("YEAR", (), times.year_of, "The year; of an interval, its whole years.", "2013", _months(12, _ALL)),
    _day_field("QUARTER", (), times.quarter_of, "The quarter of the year, 1 to 4.", "1"),
    _day_field(
        "MONTH", (), times.month_of, "The month, 1 to 12; of an interval, those beside years.", "1", _months(1, 12)
    ),
    _day_field("WEEK", (), times.iso_week_of, "The week of the year, 1 to 53, by ISO 8601.", "1"),
    _day_field("ISOYEAR", (), times.iso_year_of, "The year that the week of ISO 8601 belongs to.", "2013"),
    _day_field(
        "DAY",
        ("DAYOFMONTH",),
        times.day_of,
        "The day of the month; of an interval, its whole days.",
        "5",
        Signature((INTERVAL,), BIGINT, f"interval_field({{0}}, 86400000, {_ALL})", (times.interval_field,)),
    ),
    _day_field("DOY", ("DAYOFYEAR",), times.day_of_year, "The day of the year, 1 to 366.", "5"),
    _day_field("DOW", (), "({day} + 4) % 7", "The day of the week, Sunday 0 to Saturday 6, as in PostgreSQL.", "6"),
    _day_field("ISODOW", (), "({day} + 3) % 7 + 1", "The day of the week, Monday 1 to Sunday 7, by ISO 8601.", "6"),
    _day_field(
        "DAYOFWEEK", (), "({day} + 4) % 7 + 1", "The day of the week, Sunday 1 to Saturday 7, as in Flink.", "7"
    ),
    _clock_field("HOUR", 3_600_000, 24, 24, "The hour, 0 to 23.", "17"),
    _clock_field("MINUTE", 60_000, 60, 60, "The minute, 0 to 59.", "30"),
    _clock_field("SECOND", 1_000, 60, 60, "The whole second, 0 to 59.", "9"),
    _clock_field("MILLISECOND", 1, 60_000, 60_000, "Seconds and their fraction in milliseconds, 0 to 59999.", "9250"),
    ScalarFunction(
        "EPOCH",
        (),
        (
            Signature((DATE,), BIGINT, "{0} * 86400"),
            Signature((TIMESTAMP,), BIGINT, "{0} // 1000"),
            Signature((INTERVAL,), DOUBLE, "{0} / 1000"),
            Signature((MONTHS,), DOUBLE, "seconds_of_months({0})", (times.seconds_of_months,)),
        ),
        "Seconds since 1970, the whole ones; of an interval, its seconds (a year has 365.25 days, a month 30).",
        ((f"EPOCH({_AT})", "1357407009"), ("EPOCH(INTERVAL '1.5' SECOND)", "1.5E0")),
    ),
)
FIELDS = tuple(name for function in FUNCTIONS for name in (function.name, *function.aliases))
"""What EXTRACT takes."""

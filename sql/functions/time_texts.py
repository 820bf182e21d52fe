"""Scalar functions between times and their texts.

A pattern is made into a form by headrace.sql.runtime.time_format, once where it is constant.
"""

from __future__ import annotations

from headrace.sql.functions.registry import ScalarFunction, Signature, one
from headrace.sql.runtime.time_format import clock_format, date_format, form_of, postgres_format
from headrace.sql.runtime.times import double_instant
from headrace.sql.runtime.values import parse_iso_date, parse_iso_timestamp
from headrace.sql.types import BIGINT, DATE, DOUBLE, INT, TIME, TIMESTAMP, TIMESTAMP_LTZ, VARCHAR, Type

_AT = "TIMESTAMP '2013-01-05 17:30:00'"


def _writing(operand: Type, method: str = "format") -> tuple[Signature, ...]:
    """By a pattern, perhaps as clocks in a time zone show the time."""
    return (
        Signature((operand, VARCHAR), VARCHAR, f"{{1}}.{method}({{0}})", fails=True, prepared=(1, form_of)),
        Signature((operand, VARCHAR, "zone"), VARCHAR, "{1}.format({0}, {2})", fails=True, prepared=(1, form_of)),
    )


def reading(returns: Type) -> tuple[Signature, ...]:
    """By a pattern, perhaps as clocks in a time zone show the time."""
    return (
        Signature((VARCHAR, VARCHAR), returns, "{1}.parse({0})", fails=True, prepared=(1, form_of)),
        Signature((VARCHAR, VARCHAR, "zone"), returns, "{1}.parse({0}, {2})", fails=True, prepared=(1, form_of)),
    )


def _iso(returns: Type) -> Signature:
    return Signature((VARCHAR,), returns, "parse_iso_timestamp({0})", (parse_iso_timestamp,), fails=True)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    ScalarFunction(
        "DATE_FORMAT",
        ("FORMAT_TIMESTAMP",),
        (*_writing(TIMESTAMP_LTZ, "format_instant"), *_writing(TIMESTAMP)),
        "A time by a pattern, in UTC or a time zone.",
        (
            (f"DATE_FORMAT({_AT}, 'yyyy/MM/dd HH:mm')", "'2013/01/05 17:30'"),
            (f"DATE_FORMAT({_AT}, 'EEE d MMM yyyy, h:mm a XXX', 'Asia/Tokyo')", "'Sun 6 Jan 2013, 2:30 AM +09:00'"),
        ),
    ),
    one(
        "TO_CHAR",
        Signature((TIMESTAMP, VARCHAR), VARCHAR, "{1}.format({0})", fails=True, prepared=(1, postgres_format)),
        "A time by a pattern of PostgreSQL's, in UTC.",
        (f"TO_CHAR({_AT}, 'YYYY-MM-DD HH24:MI:SS.MS')", "'2013-01-05 17:30:00.000'"),
        (f"TO_CHAR({_AT}, 'FMMonth DD, YYYY')", "'January 05, 2013'"),
    ),
    ScalarFunction(
        "TIMESTAMPTOSTRING",
        (),
        (*_writing(BIGINT), *_writing(TIMESTAMP)),
        "Epoch milliseconds by a pattern, as in ksqlDB.",
        (("TIMESTAMPTOSTRING(1357407000000, 'yyyy-MM-dd HH:mm:ss')", "'2013-01-05 17:30:00'"),),
    ),
    ScalarFunction(
        "PARSE_TIMESTAMP",
        ("TO_TIMESTAMP",),
        (
            _iso(TIMESTAMP),
            *reading(TIMESTAMP),
            Signature((DOUBLE,), TIMESTAMP_LTZ, "double_instant({0})", (double_instant,), fails=True),
        ),
        "The time that a text names by a pattern, else in ISO 8601; or seconds since 1970 as a TIMESTAMP_LTZ.",
        (
            ("PARSE_TIMESTAMP('5/1/2013 17h30', 'd/M/yyyy HH''h''mm')", _AT),
            ("PARSE_TIMESTAMP('2013-01-05 18:30', 'yyyy-MM-dd HH:mm', 'Europe/Paris')", _AT),
            ("PARSE_TIMESTAMP('05 Jan 2013', 'DD Mon YYYY')", "TIMESTAMP '2013-01-05 00:00:00'"),
            ("PARSE_TIMESTAMP('2013-01-05 17:30:00')", _AT),
        ),
    ),
    ScalarFunction(
        "STRINGTOTIMESTAMP",
        (),
        reading(BIGINT),
        "The epoch milliseconds that a text names by a pattern, as in ksqlDB.",
        (("STRINGTOTIMESTAMP('2013-01-05 17:30', 'yyyy-MM-dd HH:mm')", "1357407000000"),),
    ),
    ScalarFunction(
        "PARSE_DATE",
        ("TO_DATE",),
        (
            Signature((VARCHAR,), DATE, "parse_iso_date({0})", (parse_iso_date,), fails=True),
            Signature((VARCHAR, VARCHAR), DATE, "{1}.parse_date({0})", fails=True, prepared=(1, date_format)),
        ),
        "The date that a text names by a pattern, else as YYYY-MM-DD.",
        (("PARSE_DATE('05.01.2013', 'dd.MM.yyyy')", "DATE '2013-01-05'"),),
    ),
    one(
        "STRINGTODATE",
        Signature((VARCHAR, VARCHAR), INT, "{1}.parse_date({0})", fails=True, prepared=(1, date_format)),
        "The days since 1970 that a text names by a pattern, as in ksqlDB.",
        ("STRINGTODATE('2013-01-05', 'yyyy-MM-dd')", "15710"),
    ),
    one(
        "FORMAT_DATE",
        Signature((DATE, VARCHAR), VARCHAR, "{1}.format_date({0})", fails=True, prepared=(1, date_format)),
        "A date by a pattern.",
        ("FORMAT_DATE(DATE '2013-01-05', 'EEEE, d MMMM yyyy')", "'Saturday, 5 January 2013'"),
    ),
    one(
        "DATETOSTRING",
        Signature((INT, VARCHAR), VARCHAR, "{1}.format_date({0})", fails=True, prepared=(1, date_format)),
        "Days since 1970 by a pattern, as in ksqlDB.",
        ("DATETOSTRING(15710, 'yyyy-MM-dd')", "'2013-01-05'"),
    ),
    one(
        "PARSE_TIME",
        Signature((VARCHAR, VARCHAR), TIME, "{1}.parse_time({0})", fails=True, prepared=(1, clock_format)),
        "The time of day that a text names by a pattern.",
        ("PARSE_TIME('5:30 PM', 'h:mm a')", "TIME '17:30:00'"),
    ),
    one(
        "FORMAT_TIME",
        Signature((TIME, VARCHAR), VARCHAR, "{1}.format({0})", fails=True, prepared=(1, clock_format)),
        "A time of day by a pattern.",
        ("FORMAT_TIME(TIME '17:30:00', 'HH:mm')", "'17:30'"),
    ),
)

"""Intervals and durations of SQL text as literals: a wrong one is refused at its place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NoReturn

from headrace.sql import intervals, syntax
from headrace.sql.errors import Span, did_you_mean, sql_error


def amount_ms(text: str, unit: str, span: Span) -> int:
    """Milliseconds of an amount and a unit (`5`, `MINUTES`); SqlError where it is none, or has no fixed length."""
    months, milliseconds = _amount(text, unit, span)
    return milliseconds if not months else _refuse_months(span)


def _refuse_months(span: Span) -> NoReturn:
    raise sql_error("months and years have no fixed length: this takes days and smaller units", span)


def _amount(text: str, word: str, span: Span, known: Iterable[str] = intervals.UNITS_MS) -> tuple[int, int]:
    """Months and milliseconds of an amount and the word for its unit."""
    if not word.strip():
        raise sql_error(f"`{text}` needs a unit of time", span, f"known: {', '.join(known)}")
    unit = intervals.unit_of(word)
    if unit is None:
        raise sql_error(f"`{word.strip()}` is not a unit of time", span, did_you_mean(word.strip(), known))
    try:
        return intervals.amount_of(text, unit)
    except ValueError as error:
        raise sql_error(str(error), span) from None


def duration_ms(text: str, units: tuple[str, ...], span: Span) -> int:
    """Milliseconds of an INTERVAL without months."""
    literal = interval(text, units, span, intervals.UNITS_MS)
    return literal.milliseconds if isinstance(literal, syntax.IntervalLiteral) else _refuse_months(span)


def interval(
    text: str, units: tuple[str, ...], span: Span, known: Iterable[str] = intervals.UNITS
) -> syntax.IntervalLiteral | syntax.MonthsLiteral:
    """`INTERVAL 'text' unit`, `INTERVAL 'text' unit TO unit`, or a text that names its units itself."""
    try:
        if len(units) == 2:
            months, milliseconds = intervals.parse_span(text, *units)
        elif units and re.search(r"\d\s*[A-Za-z]", text):
            raise sql_error(f"`{text}` names its unit itself", span, "leave the one behind it out")
        elif units:
            months, milliseconds = _amount(text, units[0], span, known)
        elif re.search("[A-Za-z:]", text):
            months, milliseconds = intervals.parse(text)
        else:
            months, milliseconds = _amount(text, "", span, known)
    except ValueError as error:
        raise sql_error(str(error), span) from None
    if months and milliseconds:
        raise sql_error(
            "an interval is of years and months, or of days and smaller units", span, "add one after the other"
        )
    return syntax.MonthsLiteral(months, span) if months else syntax.IntervalLiteral(milliseconds, span)


def watermark_delay_ms(expression: syntax.Expression, column: syntax.Identifier) -> int:
    """The delay of `WATERMARK FOR c AS c - INTERVAL …`."""
    match expression:
        case syntax.Name(column=name, qualifier=None) if column.matches(name.text):
            return 0
        case syntax.Binary(
            operator="-", left=syntax.Name(column=name), right=syntax.IntervalLiteral(milliseconds=delay)
        ) if column.matches(name.text) and delay >= 0:
            return delay
        case syntax.Binary(operator="-", right=syntax.MonthsLiteral(span=span)):
            _refuse_months(span)
    raise sql_error(
        "a watermark is its column, less a delay",
        expression.span,
        f"for example WATERMARK FOR {column.text} AS {column.text} - INTERVAL '5' SECOND",
    )


def multiple(amount: syntax.Expression, unit: str, span: Span) -> syntax.Expression:
    """So many of a unit."""
    return syntax.Binary("*", interval("1", (unit,), span), amount, span)

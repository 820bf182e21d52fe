"""Intervals and durations as written: `INTERVAL '1' DAY`, `1 MINUTE`, `5m`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from headrace.sql import intervals
from headrace.sql.interval_literals import duration_ms, interval, multiple
from headrace.sql.tree.expressions import convert_expression
from headrace.sql.tree.nodes import (
    holder,
    placed,
)

if TYPE_CHECKING:
    from headrace.sql.dialect import HeadraceParser


def parse_interval(parser: HeadraceParser) -> exp.Expr | None:
    """`INTERVAL '1' DAY`, `INTERVAL '1-3' YEAR TO MONTH`, `INTERVAL '1 day 2 hours'`, `INTERVAL n DAY`."""
    index, first = parser._index, parser._curr
    if not parser._match(TokenType.INTERVAL):
        return None
    sign = "-" if parser._match(TokenType.DASH) else ""
    amount = parser._curr
    if parser._match_set((TokenType.STRING, TokenType.NUMBER)):
        units = _parse_units(parser)
        if not units and amount.text.strip().isdigit() and parser._curr.token_type is TokenType.VAR:
            units = (parser._curr.text,)  # refused, for it is no unit
            parser._advance()
        literal = interval(sign + amount.text.strip(), units, parser._span_from(first))
        return placed(holder(literal), first, parser._prev)
    expression = parser._parse_unary() if amount and not sign else None
    units = _parse_units(parser) if expression is not None else ()
    if expression is None or len(units) != 1:  # a column of that name
        parser._retreat(index)
        return None
    span = parser._span_from(first)
    product = multiple(convert_expression(expression, span), units[0], span)
    return placed(holder(product), first, parser._prev)


def _parse_units(parser: HeadraceParser) -> tuple[str, ...]:
    """`DAY`, or `DAY TO SECOND`, by the names of the units; nothing where no unit follows."""
    token = parser._curr
    if not token or token.token_type in (TokenType.STRING, TokenType.NUMBER, TokenType.IDENTIFIER):
        return ()
    unit = intervals.unit_of(token.text)
    if unit is None:
        return ()
    parser._advance()
    if not parser._match_text_seq("TO"):
        return (unit,)
    last = intervals.unit_of(parser._curr.text) if parser._curr else None
    if last is None:
        raise parser._expected("a unit of time")
    parser._advance()
    return (unit, last)


def at_duration(parser: HeadraceParser) -> bool:
    """Whether a duration follows."""
    token = parser._next if parser._curr.token_type is TokenType.DASH else parser._curr
    return bool(token) and token.token_type in (TokenType.INTERVAL, TokenType.NUMBER)


def parse_duration_ms(parser: HeadraceParser) -> int:
    """Milliseconds of a duration: `INTERVAL '1' MINUTE`, `1 MINUTE` or `1m`, perhaps negative."""
    first = parser._curr
    sign = -1 if parser._match(TokenType.DASH) else 1
    parser._match(TokenType.INTERVAL)
    amount = parser._curr
    if amount.token_type not in (TokenType.STRING, TokenType.NUMBER):
        parser.raise_error("expected a duration such as INTERVAL '1' MINUTE, 1 MINUTE or 1m")
    parser._advance()
    units = _parse_units(parser)
    if not units and amount.token_type is TokenType.NUMBER and parser._curr.token_type is TokenType.VAR:
        units = (parser._curr.text,)  # refused, for it is no unit
        parser._advance()
    span = parser._span_from(first)
    return sign * duration_ms(amount.text.strip(), units, span)

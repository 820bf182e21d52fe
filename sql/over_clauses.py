"""OVER (…) and WINDOW name AS (…) as written: what partitions and orders rows, and which of them a call looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from headrace.sql import interval_clauses, syntax
from headrace.sql.errors import Span, sql_error
from headrace.sql.tree.expressions import convert_expression, convert_order
from headrace.sql.vocabulary import FrameUnit

if TYPE_CHECKING:
    from headrace.sql.dialect import HeadraceParser

FRAME_ROWS_MAX = 100_000

T = TypeVar("T")


def at_named(parser: HeadraceParser) -> bool:
    """Whether WINDOW is followed by `name AS`, not by a kind of window for GROUP BY."""
    following = parser._tokens[parser._index + 2 : parser._index + 3]
    return bool(following) and following[0].token_type is TokenType.ALIAS


def parse_named(parser: HeadraceParser) -> tuple[tuple[syntax.Identifier, syntax.OverClause], ...]:
    """`WINDOW a AS (…), b AS (…)`."""
    parser._advance()
    windows: list[tuple[syntax.Identifier, syntax.OverClause]] = []
    while True:
        name = parser._identifier("the name of a window")
        if not parser._match(TokenType.ALIAS):
            raise parser._expected("AS and a window in parentheses")
        windows.append((name, _parse_parenthesized(parser)))
        if not parser._match(TokenType.COMMA):
            return tuple(windows)


def parse_over(parser: HeadraceParser) -> syntax.OverClause:
    """What follows OVER: a name, or a window in parentheses."""
    if parser._match(TokenType.L_PAREN, advance=False):
        return _parse_parenthesized(parser)
    name = parser._identifier("a window in parentheses, or its name")
    return syntax.OverClause(name, None, (), (), None, name.span)


def _parse_parenthesized(parser: HeadraceParser) -> syntax.OverClause:
    first = parser._curr
    parser._expect(TokenType.L_PAREN, "`(`")
    buffer_rows = _parse_buffer(parser)
    base: syntax.Identifier | None = None
    if buffer_rows is None and not _at_clause(parser):
        base = parser._identifier("PARTITION BY, ORDER BY, ROWS, RANGE or `)`")
    partition_by: tuple[syntax.Expression, ...] = ()
    if parser._match(TokenType.PARTITION_BY):
        partition_by = _parse_list(parser, parser._parse_disjunction, convert_expression)
    order_by: tuple[syntax.OrderItem, ...] = ()
    if parser._match(TokenType.ORDER_BY):
        order_by = _parse_list(parser, parser._parse_ordered, convert_order)
    frame = _parse_frame(parser)
    if buffer_rows is not None and parser._curr.text.upper() in ("EXPIRE", "EMIT"):
        raise sql_error(
            f"{parser._curr.text.upper()} in OVER is not supported: the buffer holds the last rows, however old, "
            "and every row comes out",
            parser._span_from(parser._curr),
        )
    parser._expect(TokenType.R_PAREN, "`)`")
    return syntax.OverClause(base, buffer_rows, partition_by, order_by, frame, parser._span_from(first))


def _parse_list(
    parser: HeadraceParser, parse: Callable[[], exp.Expr | None], convert: Callable[[exp.Expr, Span], T]
) -> tuple[T, ...]:
    """What stands behind PARTITION BY or ORDER BY: one entry at least."""
    start = parser._prev
    listed = parser._parse_csv(parse)
    if not listed:
        parser.raise_error("expected an expression")
    return tuple(convert(item, parser._span_from(start)) for item in listed)


def _at_clause(parser: HeadraceParser) -> bool:
    kinds = (TokenType.PARTITION_BY, TokenType.ORDER_BY, TokenType.ROWS, TokenType.RANGE, TokenType.R_PAREN)
    return parser._curr.token_type in kinds or parser._curr.text.upper() == "GROUPS"


def _parse_buffer(parser: HeadraceParser) -> int | None:
    if not parser._match_text_seq("ROWS", "WINDOW", "BUFFER"):
        return None
    rows = _parse_count(parser)
    if not parser._match_text_seq("ROWS"):
        raise parser._expected("ROWS")
    if rows == 0:
        raise sql_error("a buffer holds a row at least", parser._span_from(parser._prev))
    return rows


def _parse_frame(parser: HeadraceParser) -> syntax.FrameClause | None:
    first = parser._curr
    if parser._match_text_seq("GROUPS"):
        raise sql_error("a frame of GROUPS is not supported yet", parser._span_from(first), "ROWS and RANGE are")
    if not parser._match_set((TokenType.ROWS, TokenType.RANGE)):
        return None
    unit = FrameUnit(first.text.upper())
    if parser._match(TokenType.BETWEEN):
        preceding = _parse_bound(parser, unit)
        if not parser._match(TokenType.AND):
            raise parser._expected("AND")
        start = parser._curr
        if _parse_bound(parser, unit) != 0:
            raise sql_error("a frame that ends before its row is not supported yet", parser._span_from(start))
    else:
        preceding = _parse_bound(parser, unit)
    if parser._match_text_seq("EXCLUDE"):
        raise sql_error("EXCLUDE in a frame is not supported yet", parser._span_from(parser._prev))
    return syntax.FrameClause(unit, preceding, parser._span_from(first))


def _parse_bound(parser: HeadraceParser, unit: FrameUnit) -> int | None:
    """How far before its row a frame begins (or ends): rows or milliseconds; None: at the first row."""
    first = parser._curr
    amount: int | None
    if parser._match_text_seq("CURRENT", "ROW"):
        return 0
    if parser._match_text_seq("UNBOUNDED"):
        amount = None
    elif unit is FrameUnit.ROWS:
        amount = _parse_count(parser)
    else:
        amount = interval_clauses.parse_duration_ms(parser)
        if amount < 0:
            raise sql_error("a frame does not begin a negative time before its row", parser._span_from(first))
    if parser._match_text_seq("FOLLOWING"):
        raise sql_error(
            "a frame with FOLLOWING is not supported: a row comes out when all before it have come",
            parser._span_from(first),
            "LEAD waits for the rows that follow",
        )
    if not parser._match_text_seq("PRECEDING"):
        raise parser._expected("PRECEDING")
    return amount


def _parse_count(parser: HeadraceParser) -> int:
    token: Token = parser._curr
    if token.token_type is not TokenType.NUMBER or not token.text.isdigit():
        raise parser._expected("a number of rows")
    parser._advance()
    if int(token.text) > FRAME_ROWS_MAX:
        raise sql_error(f"a frame has at most {FRAME_ROWS_MAX} rows", parser._span_from(token))
    return int(token.text)

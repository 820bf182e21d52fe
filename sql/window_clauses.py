"""Windows as written: behind WINDOW, in GROUP BY and in FROM, in whichever dialect."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from headrace.sql import interval_clauses, syntax
from headrace.sql.errors import Span, sql_error
from headrace.sql.tree.expressions import convert_expression
from headrace.sql.tree.nodes import (
    holder,
    placed,
    token_span,
)

if TYPE_CHECKING:
    from headrace.sql.dialect import HeadraceParser

_TUMBLING, _HOPPING, _SESSION = syntax.WindowKind.TUMBLING, syntax.WindowKind.HOPPING, syntax.WindowKind.SESSION
_WINDOWS = {
    "TUMBLING": (_TUMBLING, ("SIZE", "OFFSET")),
    "TUMBLE": (_TUMBLING, ("SIZE", "OFFSET")),
    "HOPPING": (_HOPPING, ("SIZE", "ADVANCE BY", "OFFSET")),
    "SLIDING": (_HOPPING, ("SIZE", "ADVANCE BY", "OFFSET")),
    "HOP": (_HOPPING, ("ADVANCE BY", "SIZE", "OFFSET")),  # Flink's and RisingWave's order
    "CUMULATE": (syntax.WindowKind.CUMULATING, ("STEP", "SIZE", "OFFSET")),
    "SESSION": (_SESSION, ("GAP",)),
}
"""Windows by their names in the dialects, and what their durations mean where they are not named."""
_EXAMPLES = {
    _TUMBLING: "for example TUMBLING (SIZE 1 MINUTE)",
    _HOPPING: "for example HOPPING (SIZE 1 MINUTE, ADVANCE BY 10 SECONDS)",
    syntax.WindowKind.CUMULATING: "for example CUMULATE(time, INTERVAL '1' HOUR, INTERVAL '1' DAY): step, then size",
    _SESSION: "for example SESSION (5 MINUTES)",
}


def parse_grouping(parser: HeadraceParser) -> syntax.WindowClause:
    """`WINDOW TUMBLING (SIZE 1 MINUTE)`, before or behind GROUP BY."""
    first = parser._curr
    parser._advance()
    word = parser._curr
    if not word or word.text.upper() not in _WINDOWS:
        parser.raise_error("expected TUMBLING, HOPPING, SESSION or CUMULATE")
    parser._advance()
    parser._expect(TokenType.L_PAREN, "`(`")
    window = _parse_arguments(parser, word.text.upper(), first, None)
    parser._expect(TokenType.R_PAREN, "`,` or `)`")
    return replace(window, span=parser._span_from(first))


def parse_call(parser: HeadraceParser) -> exp.Expr:
    """`TUMBLE(time, size)` in GROUP BY, behind its opening parenthesis; sqlglot takes the closing one."""
    first = parser._tokens[parser._index - 2]
    window = _parse_arguments(parser, first.text.upper(), first, None)
    last = parser._curr or parser._prev
    return placed(holder(replace(window, span=Span(first.start, last.end + 1))), first, last)


def _parse_arguments(
    parser: HeadraceParser, name: str, first: Token, time: syntax.Expression | None
) -> syntax.WindowClause:
    """What stands between the parentheses of a window: perhaps its time column, durations, a time zone."""
    kind, positional = _WINDOWS[name]
    names = (*positional, "GRACE PERIOD")
    unnamed = iter(positional)
    given: dict[str, int] = {}
    zone: syntax.StringLiteral | None = None
    while True:
        start = parser._curr
        named = next((word for word in names if parser._match_text_seq(*word.split())), None)
        if named is None and parser._match_text_seq("RETENTION"):
            raise sql_error(
                "RETENTION is not supported: the state of a closed window is freed at once", token_span(start)
            )
        if named is None and (parser._match_text_seq("TIMEZONE") or parser._match_text_seq("TIME", "ZONE")):
            text = parser._curr
            parser._expect(TokenType.STRING, "the name of a time zone, such as 'Europe/Paris'")
            zone = syntax.StringLiteral(text.text, token_span(text))
        elif named is not None or interval_clauses.at_duration(parser):
            named = named or next(unnamed, None)
            if named is None or named in given:
                raise sql_error(f"{name} has durations for {', '.join(names)}, each once", token_span(start))
            given[named] = interval_clauses.parse_duration_ms(parser)
        elif time is None and not given:
            time = convert_expression(parser._parse_disjunction(), token_span(start))
        else:
            parser.raise_error(f"expected {', '.join(names)} or `)`" if given else "expected a duration")
        if not parser._match(TokenType.COMMA):
            break
    span = parser._span_from(first)
    size = "GAP" if kind is _SESSION else "SIZE"
    step = next((word for word in positional if word in ("ADVANCE BY", "STEP")), None)
    for needed in (size, step):
        if needed is not None and needed not in given:
            raise sql_error(f"{name} needs its {needed}", span, _EXAMPLES[kind])
    return syntax.WindowClause(
        kind,
        time,
        given[size],
        given[step] if step is not None else 0,
        given.get("OFFSET", 0),
        zone,
        given.get("GRACE PERIOD", 0),
        None,
        span,
    )


def parse_function(parser: HeadraceParser, first: Token) -> exp.Table:
    """`TUMBLE(TABLE t, DESCRIPTOR(time), size)` in FROM."""
    name = parser._curr
    word = name.text.upper() if name else ""
    if word not in syntax.WINDOW_FUNCTIONS:
        raise sql_error(
            f"{word or 'this'} is not supported in FROM yet",
            token_span(name or first),
            f"{', '.join(syntax.WINDOW_FUNCTIONS)} are",
        )
    parser._advance()
    parser._expect(TokenType.L_PAREN, "`(`")
    parser._match(TokenType.TABLE)
    relation = parser._identifier("the name of a stream")
    keys: tuple[syntax.Identifier, ...] = ()
    if parser._match(TokenType.PARTITION_BY):
        keys = _parse_partition_keys(parser)
    parser._expect(TokenType.COMMA, "`,`")
    if parser._match_text_seq("DESCRIPTOR"):
        parser._expect(TokenType.L_PAREN, "`(`")
        column = parser._identifier("a column name")
        parser._expect(TokenType.R_PAREN, "`)`")
    else:
        column = parser._identifier("a column name")
    parser._expect(TokenType.COMMA, "`,`")
    window = _parse_arguments(parser, word, first, syntax.Name(column, None, column.span))
    parser._expect(TokenType.R_PAREN, "`)`")
    clause = replace(window, partition_by=keys, span=parser._span_from(first))
    return exp.Table(this=holder((relation, clause)))


def _parse_partition_keys(parser: HeadraceParser) -> tuple[syntax.Identifier, ...]:
    if parser._match(TokenType.L_PAREN, advance=False):
        return tuple(parser._names())
    return (parser._identifier("a column name"),)

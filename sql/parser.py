"""SQL text to statements."""

from __future__ import annotations

import re
from itertools import pairwise

from sqlglot.errors import ErrorLevel, SqlglotError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from headrace.sql import limits
from headrace.sql.dialect import Headrace, HeadraceParser, MistakeError
from headrace.sql.errors import Problem, Span, SqlError, sql_error
from headrace.sql.syntax import CreateRelation, FunctionCall, Query, Select, Statement
from headrace.sql.types import Type


def parse(text: str) -> tuple[Statement, ...]:
    """All statements of a text, in order.

    Raises SqlError with a problem for each statement that cannot be read.
    """
    statements: list[Statement] = []
    problems: list[Problem] = []
    for tokens in _split(_tokenize(text)):
        try:
            statements.append(_parse_one(tokens, text))
        except SqlError as error:
            problems.extend(error.problems)
    if problems:
        raise SqlError(problems)
    return tuple(statements)


def parse_type(text: str) -> Type | None:
    """The type that a text such as `DECIMAL(10, 2)` names; None where it says more. SqlError where it names none."""
    match parse(f"CREATE STREAM s (c {text})"):
        case (CreateRelation(columns=(column,), primary_key=False, watermark=None, options=()),) if not (
            column.key or column.not_null or column.unsigned or column.processing_time
        ):
            return column.type
    return None


def is_callable_name(name: str) -> bool:
    """Whether `NAME(x)` is the plain call of a function: no word or special form of the language."""
    try:
        statements = parse(f"SELECT {name}(x) FROM s")
    except SqlError:
        return False
    match statements:
        case (Query(query=Select(items=(item,))),):
            return isinstance(item.expression, FunctionCall) and item.expression.name == name.upper()
    return False


def _tokenize(text: str) -> list[Token]:
    try:
        tokens = Headrace().tokenize(text)
    except TokenError:
        raise _unclosed(text) from None
    for token, following in pairwise(tokens):
        if token.token_type is TokenType.WINDOW and following.token_type not in (TokenType.VAR, TokenType.ROWS):
            token.token_type = TokenType.VAR  # a column called window; the clause goes on with the kind of window
    return tokens


_CLOSED = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|[^'\"`]", re.DOTALL)
"""A comment, something in quotes, or a character outside of both."""


def _unclosed(text: str) -> SqlError:
    """What opens and is never closed, at its place."""
    place = 0
    while (match := _CLOSED.match(text, place)) is not None:
        if match[0] == "/" and text.startswith("/*", place):
            return sql_error("the comment is not closed", Span(place, place + 2), "a comment ends with */")
        place = match.end()
    if place == len(text):
        return sql_error("cannot read the text")
    quote = text[place]
    what = "text" if quote == "'" else "name"
    return sql_error(
        f"the {what} in quotes is not closed", Span(place, place + 1), f"a quote inside of it is {quote * 2}"
    )


def _split(tokens: list[Token]) -> list[list[Token]]:
    chunks: list[list[Token]] = [[]]
    for token in tokens:
        if token.token_type is TokenType.SEMICOLON:
            chunks.append([])
        else:
            chunks[-1].append(token)
    return [chunk for chunk in chunks if chunk]


def _parse_one(tokens: list[Token], text: str) -> Statement:
    limits.check_tokens(tokens)
    parser = HeadraceParser(dialect=Headrace, error_level=ErrorLevel.IMMEDIATE)
    whole = Span(tokens[0].start, tokens[-1].end + 1)
    try:
        parsed = parser.parse(tokens, text)
    except MistakeError as mistake:
        raise SqlError((mistake.problem,)) from None
    except SqlglotError as error:
        raise sql_error(str(error).splitlines()[0], whole) from None
    except (ValueError, AttributeError, TypeError):  # what sqlglot raises where a part that it needs is not there
        raise sql_error("cannot read the statement", whole) from None
    except RecursionError:
        raise limits.too_deep(whole) from None
    if len(parsed) != 1:  # sqlglot leaves out what only stands inside of a block of statements
        raise sql_error(f"a statement cannot start with `{tokens[0].text}`", whole)
    limits.check_depth(parsed[0], whole)
    return parsed[0]  # type: ignore[return-value]

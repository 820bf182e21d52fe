"""SQL text to statements."""

from __future__ import annotations

from itertools import pairwise

from sqlglot.errors import ErrorLevel, SqlglotError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

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
    except TokenError as error:
        raise sql_error(f"cannot read the text: {error}", _unclosed(text)) from None
    for token, following in pairwise(tokens):
        if token.token_type is TokenType.WINDOW and following.token_type not in (TokenType.VAR, TokenType.ROWS):
            token.token_type = TokenType.VAR  # a column called window; the clause goes on with the kind of window
    return tokens


def _unclosed(text: str) -> Span | None:
    """The place of the last quote, where reading most likely went wrong."""
    place = max(text.rfind("'"), text.rfind('"'))
    return Span(place, place + 1) if place >= 0 else None


def _split(tokens: list[Token]) -> list[list[Token]]:
    chunks: list[list[Token]] = [[]]
    for token in tokens:
        if token.token_type is TokenType.SEMICOLON:
            chunks.append([])
        else:
            chunks[-1].append(token)
    return [chunk for chunk in chunks if chunk]


def _parse_one(tokens: list[Token], text: str) -> Statement:
    parser = HeadraceParser(dialect=Headrace, error_level=ErrorLevel.IMMEDIATE)
    whole = Span(tokens[0].start, tokens[-1].end + 1)
    try:
        parsed = parser.parse(tokens, text)
    except MistakeError as mistake:
        raise SqlError((mistake.problem,)) from None
    except SqlglotError as error:
        raise sql_error(str(error).splitlines()[0], whole) from None
    except ValueError:  # what sqlglot raises where a name that it needs is none
        raise sql_error("cannot read the statement", whole) from None
    except RecursionError:
        raise sql_error("the statement is nested too deeply", whole) from None
    if len(parsed) != 1:  # sqlglot leaves out what only stands inside of a block of statements
        raise sql_error(f"a statement cannot start with `{tokens[0].text}`", whole)
    return parsed[0]  # type: ignore[return-value]

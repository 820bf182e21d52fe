"""The column list of CREATE as written: columns, their key, the parts of a record they hold, the watermark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from headrace.sql import syntax, types
from headrace.sql.errors import did_you_mean, sql_error
from headrace.sql.interval_literals import watermark_delay_ms
from headrace.sql.record_parts import LISTED_HEADERS, METADATA, Part, RecordPart
from headrace.sql.tree.declared_types import TYPE_NAMES, convert_type
from headrace.sql.tree.expressions import convert_expression
from headrace.sql.tree.nodes import token_span

if TYPE_CHECKING:
    from headrace.sql.dialect import HeadraceParser


@dataclass(frozen=True, slots=True)
class Columns:
    """A column list; empty where none is written."""

    columns: tuple[syntax.ColumnDefinition, ...]
    primary_key: bool
    watermark: syntax.WatermarkDefinition | None


def parse_columns(parser: HeadraceParser) -> Columns:
    """`(columns, PRIMARY KEY (names), WATERMARK FOR …)`, where a parenthesis opens."""
    columns: list[syntax.ColumnDefinition] = []
    watermark: syntax.WatermarkDefinition | None = None
    keys: list[syntax.Identifier] = []
    primary_key = False
    if parser._match(TokenType.L_PAREN):
        while True:
            start = parser._curr
            if parser._match_text_seq("WATERMARK", "FOR"):
                watermark = _parse_watermark(parser, start, watermark)
            elif parser._curr.token_type is TokenType.PRIMARY_KEY:
                parser._advance()
                if primary_key:
                    raise sql_error("a table has one PRIMARY KEY", token_span(start))
                keys = parser._names()
                parser._match_text_seq("NOT", "ENFORCED")
                primary_key = True
            else:
                column, is_primary = _parse_column_definition(parser)
                if is_primary and keys:
                    raise sql_error("a table has one PRIMARY KEY", column.name.span)
                columns.append(column)
                primary_key = primary_key or is_primary
            if not parser._match(TokenType.COMMA):
                break
        parser._expect(TokenType.R_PAREN, "`,` or `)`")
    for key in keys:
        if not any(key.matches(column.name.text) for column in columns):
            hint = did_you_mean(key.text, (column.name.text for column in columns))
            raise sql_error(f"column `{key.text}` does not exist", key.span, hint)
    keyed = (
        replace(column, key=column.key or any(key.matches(column.name.text) for key in keys)) for column in columns
    )
    return Columns(tuple(keyed), primary_key, watermark)


def _parse_column_definition(parser: HeadraceParser) -> tuple[syntax.ColumnDefinition, bool]:
    first = parser._curr
    name = parser._identifier("a column name")
    if parser._match(TokenType.ALIAS):
        return _parse_processing_time(parser, first, name), False
    type_token = parser._curr
    data_type = parser._parse_types(check_func=False, schema=True, allow_identifiers=False)
    if not isinstance(data_type, exp.DataType):
        word = type_token.text if type_token else ""
        found = f"`{word}`" if type_token else "the end of the statement"
        raise sql_error(
            f"expected a type for column `{name.text}`, found {found}",
            token_span(type_token or first),
            did_you_mean(word, TYPE_NAMES),
        )
    declared, unsigned = convert_type(data_type, parser._span_from(type_token))
    key = primary = not_null = False
    part: RecordPart | None = None
    while True:
        if parser._match(TokenType.PRIMARY_KEY):
            key = primary = True
        elif parser._match_text_seq("KEY"):
            key = True
        elif parser._match_text_seq("NOT", "NULL"):
            not_null = True
        elif parser._match(TokenType.NULL):
            not_null = False
        elif parser._match_text_seq("METADATA"):
            part = _parse_metadata(parser, name, declared)
        elif parser._match_text_seq("HEADER"):
            part = _parse_header(parser, declared, parser._prev)
        elif parser._match_text_seq("HEADERS"):
            if declared != LISTED_HEADERS:
                raise sql_error(f"HEADERS are {LISTED_HEADERS}, found {declared}", token_span(parser._prev))
            part = RecordPart(Part.HEADERS)
        else:
            break
    span = parser._span_from(first)
    if part is not None and (key or unsigned):
        raise sql_error("a column of METADATA or HEADER is neither KEY nor UNSIGNED", span)
    return syntax.ColumnDefinition(name, declared, key, not_null, unsigned, span, part=part), primary


def _parse_metadata(parser: HeadraceParser, name: syntax.Identifier, declared: types.Type) -> RecordPart:
    """Flink's `METADATA [FROM 'key'] [VIRTUAL]`."""
    key, span = name.text, name.span
    if parser._match(TokenType.FROM):
        token = parser._curr
        parser._expect(TokenType.STRING, "the name of metadata in quotes")
        key, span = token.text, token_span(token)
    parser._match_text_seq("VIRTUAL")
    if key not in METADATA:
        raise sql_error(f"a record has no metadata `{key}`", span, did_you_mean(key, METADATA))
    known, part = METADATA[key]
    if declared not in known:
        raise sql_error(f"the metadata `{key}` is {known[0]}, found {declared}", span)
    return RecordPart(part)


def _parse_header(parser: HeadraceParser, declared: types.Type, first: Token) -> RecordPart:
    """ksqlDB's `HEADER('name')`."""
    parser._expect(TokenType.L_PAREN, "`(`")
    token = parser._curr
    parser._expect(TokenType.STRING, "the name of a header in quotes")
    parser._expect(TokenType.R_PAREN, "`)`")
    if declared not in (types.VARCHAR, types.BYTES):
        raise sql_error(f"a header is VARCHAR or BYTES, found {declared}", parser._span_from(first))
    return RecordPart(Part.HEADER, token.text)


def _parse_processing_time(parser: HeadraceParser, first: Token, name: syntax.Identifier) -> syntax.ColumnDefinition:
    if not parser._match_text_seq("PROCTIME", "(", ")"):
        raise sql_error(
            "computed columns are not supported yet", token_span(parser._curr or first), "`name AS PROCTIME()` is"
        )
    span = parser._span_from(first)
    return syntax.ColumnDefinition(name, types.TIMESTAMP, False, True, False, span, processing_time=True)


def _parse_watermark(
    parser: HeadraceParser, first: Token, earlier: syntax.WatermarkDefinition | None
) -> syntax.WatermarkDefinition:
    column = parser._identifier("a column name")
    delay_ms = 0
    if parser._match(TokenType.ALIAS):
        expression = convert_expression(parser._parse_disjunction(), parser._span_from(first))
        delay_ms = watermark_delay_ms(expression, column)
    span = parser._span_from(first)
    if earlier is not None:
        raise sql_error("a source has one WATERMARK", span)
    return syntax.WatermarkDefinition(column, delay_ms, span)

"""Statements as written: CREATE, DROP, INSERT INTO, SET, SHOW, and what only `headrace test` runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from sqlglot.tokenizer_core import Token, TokenType

from headrace.sql import syntax
from headrace.sql.column_clauses import parse_columns
from headrace.sql.errors import near_name, sql_error
from headrace.sql.tree.expressions import convert_expression
from headrace.sql.tree.nodes import token_span
from headrace.sql.vocabulary import RelationKind

if TYPE_CHECKING:
    from headrace.sql.dialect import HeadraceParser

_LISTED = ("STREAMS", "TABLES", "VIEWS", "QUERIES", "TOPICS")
_STATEMENTS = ("CREATE", "INSERT", "SELECT", "SET", "EXPLAIN", "WITH")


def parse_statement(parser: HeadraceParser) -> syntax.Statement:
    """The statement that begins here, up to its end."""
    first = parser._curr
    statement: syntax.Statement
    if parser._match(TokenType.CREATE):
        statement = _parse_create_relation(parser, first)
    elif parser._match(TokenType.INSERT):
        statement = _parse_insert_into(parser, first)
    elif parser._match(TokenType.SET):
        statement = syntax.SetOption(_parse_option(parser), parser._span_from(first))
    elif parser._match_text_seq("ASSERT"):
        statement = _parse_assert(parser, first)
    elif parser._match_text_seq("RUN"):
        statement = _parse_run_script(parser, first)
    elif parser._match_text_seq("EXPLAIN"):
        statement = syntax.Explain(parser._parse_query(), parser._span_from(first))
    elif parser._match(TokenType.DROP):
        statement = _parse_drop_relation(parser, first)
    elif parser._match(TokenType.SHOW) or parser._match_text_seq("LIST"):
        statement = _parse_listing(parser, first)
    elif parser._match(TokenType.DESCRIBE):
        statement = syntax.Describe(parser._identifier("a name"), parser._span_from(first))
    elif parser._curr.token_type in (TokenType.SELECT, TokenType.WITH, TokenType.L_PAREN):
        statement = syntax.Query(parser._parse_query(), parser._span_from(first))
    else:
        near = near_name(first.text, _STATEMENTS)
        raise sql_error(
            f"a statement cannot start with `{first.text}`",
            token_span(first),
            f"did you mean `{near}`?"
            if near
            else "Headrace reads CREATE, INSERT INTO, SELECT, SET, DROP, EXPLAIN, SHOW and DESCRIBE",
        )
    if parser._curr:
        parser.raise_error("expected the end of the statement")
    return statement


def _parse_create_relation(
    parser: HeadraceParser, first: Token
) -> syntax.CreateRelation | syntax.CreateAs | syntax.CreateView:
    existing = syntax.Existing.REFUSE
    if parser._match(TokenType.OR):
        if not parser._match_text_seq("REPLACE"):
            raise parser._expected("REPLACE")
        existing = syntax.Existing.REPLACE
    temporary = parser._match_text_seq("TEMPORARY")  # a view of Flink's always is
    if parser._match(TokenType.VIEW):
        return _parse_create_view(parser, first, existing)
    is_view = bool(parser._match_text_seq("MATERIALIZED", "VIEW"))  # RisingWave's CREATE TABLE … AS
    if temporary:
        parser.raise_error("expected VIEW after CREATE TEMPORARY")
    if parser._match_text_seq("STREAM"):
        kind = RelationKind.STREAM
    elif is_view or parser._match(TokenType.TABLE):
        kind = RelationKind.TABLE
    else:
        _refuse_create(parser)
    existing = _parse_if_not_exists(parser, existing)
    name = parser._identifier("a name")
    given = parse_columns(parser)
    options = _parse_options(parser) if parser._match(TokenType.WITH) else ()
    if parser._match(TokenType.ALIAS):
        if given.columns or given.watermark or given.primary_key:
            raise sql_error("a query's columns are those of its SELECT: leave the column list out", name.span)
        return syntax.CreateAs(kind, name, options, parser._parse_query(), existing, parser._span_from(first))
    if is_view:
        raise parser._expected("AS and the query of the view")
    return syntax.CreateRelation(
        kind,
        name,
        given.columns,
        given.primary_key,
        given.watermark,
        options,
        existing,
        parser._span_from(first),
    )


def _refuse_create(parser: HeadraceParser) -> NoReturn:
    """SqlError for what follows CREATE and cannot be created."""
    if not parser._curr:
        raise parser._expected("STREAM or TABLE")
    if parser._curr.text.upper() == "FUNCTION":
        raise sql_error(
            "CREATE FUNCTION is not supported: functions are written in Python",
            token_span(parser._curr),
            "decorate one with @headrace.udf or @headrace.udaf, and give its module: --udf, or App(udfs=…)",
        )
    near = near_name(parser._curr.text, ("STREAM", "TABLE", "VIEW", "MATERIALIZED"))
    raise sql_error(
        f"CREATE {parser._curr.text.upper()} is not supported yet",
        token_span(parser._curr),
        f"did you mean `{near}`?" if near else "CREATE STREAM, CREATE TABLE and CREATE VIEW are",
    )


def _parse_if_not_exists(parser: HeadraceParser, existing: syntax.Existing) -> syntax.Existing:
    start = parser._curr
    if not parser._match_text_seq("IF", "NOT", "EXISTS"):
        return existing
    if existing is syntax.Existing.REPLACE:
        raise sql_error("OR REPLACE does not go with IF NOT EXISTS", parser._span_from(start))
    return syntax.Existing.KEEP


def _parse_drop_relation(parser: HeadraceParser, first: Token) -> syntax.Drop:
    kind: RelationKind | None = None
    if parser._match_text_seq("STREAM"):
        kind = RelationKind.STREAM
    elif parser._match(TokenType.TABLE) or parser._match_text_seq("MATERIALIZED", "VIEW"):
        kind = RelationKind.TABLE
    elif not parser._match(TokenType.VIEW):
        raise parser._expected("STREAM, TABLE or VIEW")
    if_exists = bool(parser._match_text_seq("IF", "EXISTS"))
    name = parser._identifier("a name")
    if parser._match_text_seq("DELETE", "TOPIC"):
        raise sql_error("DELETE TOPIC is not supported: DROP is about the text of the app", parser._span_from(first))
    return syntax.Drop(kind, name, if_exists, parser._span_from(first))


def _parse_listing(parser: HeadraceParser, first: Token) -> syntax.Show:
    subject = parser._curr.text.upper() if parser._curr else ""
    if subject not in _LISTED:
        raise parser._expected("STREAMS, TABLES, VIEWS, QUERIES or TOPICS")
    parser._advance()
    return syntax.Show(subject, parser._span_from(first))


def _parse_create_view(parser: HeadraceParser, first: Token, existing: syntax.Existing) -> syntax.CreateView:
    existing = _parse_if_not_exists(parser, existing)
    name = parser._identifier("a name")
    columns = parser._names() if parser._match(TokenType.L_PAREN, advance=False) else []
    if parser._match(TokenType.WITH, advance=False):
        raise sql_error("a view has no options: it has no topic", token_span(parser._curr))
    if not parser._match(TokenType.ALIAS):
        raise parser._expected("AS and the query of the view")
    return syntax.CreateView(name, tuple(columns), parser._parse_query(), existing, parser._span_from(first))


def _parse_insert_into(parser: HeadraceParser, first: Token) -> syntax.InsertInto | syntax.InsertValues:
    if not parser._match(TokenType.INTO):
        parser.raise_error("expected INTO")
    target = parser._identifier("the name of a stream or table")
    names = parser._names() if parser._match(TokenType.L_PAREN, advance=False) else None
    columns = None if names is None else tuple(names)
    if parser._match(TokenType.VALUES):
        rows = _parse_values_rows(parser)
        return syntax.InsertValues(target, columns, rows, parser._span_from(first))
    query = parser._parse_query()
    return syntax.InsertInto(target, columns, query, parser._span_from(first))


def _parse_values_rows(parser: HeadraceParser) -> tuple[syntax.ValuesRow, ...]:
    rows = [_parse_values_row(parser)]
    while parser._match(TokenType.COMMA):
        rows.append(_parse_values_row(parser))
    return tuple(rows)


def _parse_values_row(parser: HeadraceParser) -> syntax.ValuesRow:
    first = parser._curr or parser._prev
    parser._expect(TokenType.L_PAREN, "`(` and the values of a row")
    values: list[syntax.Expression] = []
    while True:
        start = parser._curr or parser._prev
        values.append(convert_expression(parser._parse_disjunction(), token_span(start)))
        if not parser._match(TokenType.COMMA):
            break
    parser._expect(TokenType.R_PAREN, "`,` or `)`")
    return syntax.ValuesRow(tuple(values), parser._span_from(first))


# What only `headrace test` runs


def _parse_assert(parser: HeadraceParser, first: Token) -> syntax.Assertion:
    """ksqlDB's ASSERT [NULL] VALUES, ASSERT STREAM and ASSERT TABLE."""
    word = parser._curr.text.upper() if parser._curr else ""
    if word in ("STREAM", "TABLE"):
        wanted = _parse_create_relation(parser, first)
        if not isinstance(wanted, syntax.CreateRelation):
            raise sql_error("ASSERT takes columns and options, no query", wanted.query.span)
        return syntax.AssertRelation(wanted, parser._span_from(first))
    is_tombstone = parser._match(TokenType.NULL)
    if not parser._match(TokenType.VALUES):
        raise parser._expected("VALUES, NULL VALUES, STREAM or TABLE after ASSERT")
    target = parser._identifier("the name of a stream or table")
    names = parser._names() if parser._match(TokenType.L_PAREN, advance=False) else None
    columns = None if names is None else tuple(names)
    if is_tombstone:
        if not parser._match_text_seq("KEY"):
            raise parser._expected("KEY and the key of the deleted row")
        rows = _parse_values_rows(parser)
        return syntax.AssertTombstones(target, columns, rows, parser._span_from(first))
    if not parser._match(TokenType.VALUES):
        raise parser._expected("VALUES and the expected rows")
    rows = _parse_values_rows(parser)
    return syntax.AssertValues(target, columns, rows, parser._span_from(first))


def _parse_run_script(parser: HeadraceParser, first: Token) -> syntax.RunScript:
    if not parser._match_text_seq("SCRIPT"):
        raise parser._expected("SCRIPT and the name of a file")
    name = parser._curr
    parser._expect(TokenType.STRING, "the name of a file, in quotes")
    return syntax.RunScript(syntax.StringLiteral(name.text, token_span(name)), parser._span_from(first))


def _parse_options(parser: HeadraceParser) -> tuple[syntax.Option, ...]:
    parser._expect(TokenType.L_PAREN, "`(`")
    options = [_parse_option(parser)]
    while parser._match(TokenType.COMMA):
        options.append(_parse_option(parser))
    parser._expect(TokenType.R_PAREN, "`,` or `)`")
    return tuple(options)


def _parse_option(parser: HeadraceParser) -> syntax.Option:
    first = parser._curr
    if not first or first.token_type in (TokenType.R_PAREN, TokenType.EQ):
        parser.raise_error("expected the name of an option")
    parser._advance()
    key = first.text
    while first.token_type is not TokenType.STRING and parser._match(TokenType.DOT):
        if not parser._curr:
            raise parser._expected("the rest of the name of an option")
        key += f".{parser._curr.text}"
        parser._advance()
    key_span = parser._span_from(first)
    parser._expect(TokenType.EQ, "`=`")
    sign = "-" if parser._match(TokenType.DASH) else ""
    value = parser._curr
    if not value or value.token_type in (TokenType.R_PAREN, TokenType.COMMA):
        parser.raise_error("expected a value")
    parser._advance()
    quoted = value.token_type is TokenType.STRING
    return syntax.Option(key, sign + value.text, key_span, token_span(value), quoted)

"""Headrace's SQL as a sqlglot dialect: its tokens, its statements and its window clauses.

sqlglot parses expressions and the SELECT skeleton; what is streaming is parsed here. Every function arrives as a
plain call by name (sqlglot's own table of functions is empty), because the meaning of functions is the registry's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar, NoReturn, TypeVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError
from sqlglot.parser import SENTINEL_NONE, Parser, binary_range_parser
from sqlglot.tokenizer_core import Token, TokenType
from sqlglot.tokens import Tokenizer

from headrace.sql import intervals, over_clauses, syntax, tree, types
from headrace.sql.errors import Problem, Span, SqlError, did_you_mean, near_name, sql_error
from headrace.sql.record_parts import LISTED_HEADERS, METADATA, Part, RecordPart
from headrace.sql.tree import EMIT_ARG, GROUPING_WINDOW_ARG, NAMED_WINDOWS_ARG, OVER_ARG, PARTITION_BY_ARG

_EMIT = TokenType.CLUSTER_BY  # a token type this dialect has no other use for, spent on EMIT
_PLAIN_WORDS = ("SESSION", "CLUSTER BY")  # keywords of sqlglot's that are none here
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
_LISTED = ("STREAMS", "TABLES", "VIEWS", "QUERIES", "TOPICS")
_WINDOW_FUNCTIONS = ("TUMBLE", "HOP", "CUMULATE", "SESSION")
_WINDOW_EXAMPLES = {
    _TUMBLING: "for example TUMBLING (SIZE 1 MINUTE)",
    _HOPPING: "for example HOPPING (SIZE 1 MINUTE, ADVANCE BY 10 SECONDS)",
    syntax.WindowKind.CUMULATING: "for example CUMULATE(time, INTERVAL '1' HOUR, INTERVAL '1' DAY): step, then size",
    _SESSION: "for example SESSION (5 MINUTES)",
}
_MOMENTS = ("CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "CURRENT_DATE", "CURRENT_TIME", "LOCALTIME")
"""Functions that are called without parentheses."""
_EMIT_WORDS = {
    "EMIT CHANGES": syntax.Emit.CHANGES,
    "EMIT FINAL": syntax.Emit.FINAL,
    "EMIT ON WINDOW CLOSE": syntax.Emit.FINAL,
}

_CLAUSES = ("FROM", "WHERE", "GROUP", "HAVING", "WINDOW", "EMIT", "PARTITION", "ORDER", "LIMIT", "UNION", "SELECT")
_STATEMENTS = ("CREATE", "INSERT", "SELECT", "SET", "EXPLAIN", "WITH")

N = TypeVar("N", bound=exp.Expr | None)
T = TypeVar("T")


def token_span(token: Token) -> Span:
    """The place of one token."""
    return Span(token.start, token.end + 1)


def _placed(node: N, token: Token) -> N:
    """A node of sqlglot's that tells where its first token is, which its parts alone do not."""
    if node is not None:
        node.meta.update(start=token.start, end=token.end)
    return node


class HeadraceTokenizer(Tokenizer):
    QUOTES: ClassVar = ["'"]
    IDENTIFIERS: ClassVar = ['"', "`"]
    COMMANDS: ClassVar = set()
    KEYWORDS: ClassVar = {
        **{word: kind for word, kind in Tokenizer.KEYWORDS.items() if word not in _PLAIN_WORDS},
        **dict.fromkeys(_EMIT_WORDS, _EMIT),
        "EMIT": _EMIT,
        "INT8": TokenType.BIGINT,  # PostgreSQL counts bytes
        "INT4": TokenType.INT,
        "BYTES": TokenType.VARBINARY,
        "ROW": TokenType.STRUCT,  # Flink's STRUCT
    }


class MistakeError(ParseError):
    """Text that cannot be read, while sqlglot may still try another way to read it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message, [{"description": problem.message}])
        self.problem = problem


def _reworded(message: str) -> str:
    """sqlglot's words for a mistake, without the names of its classes."""
    if message.startswith("Required keyword"):
        return "expected an expression"
    text = message.partition(" but got ")[0].rstrip(".").removesuffix(" ()")
    if text in ("Expecting )", "Expecting ]", "Expecting ("):
        return f"expected `{text[-1]}`"
    for word in ("Expecting ", "Expected "):
        text = f"expected {text.removeprefix(word)}" if text.startswith(word) else text
    return text


class HeadraceParser(Parser):
    FUNCTIONS: ClassVar = {}
    NO_PAREN_FUNCTIONS: ClassVar = {}
    LAMBDAS: ClassVar = {  # `->` is the way to a field
        TokenType.FARROW: lambda self, names: exp.Lambda(this=self._parse_disjunction(), expressions=names)
    }
    NO_PAREN_FUNCTION_PARSERS: ClassVar = {
        "CASE": lambda self: self._parse_case(),
        **dict.fromkeys(_MOMENTS, lambda self: self._parse_moment()),
    }
    FUNCTION_PARSERS: ClassVar = {
        **{
            name: Parser.FUNCTION_PARSERS[name]
            for name in ("CAST", "TRY_CAST", "EXTRACT", "OVERLAY", "POSITION", "SUBSTRING", "TRIM")
        },
        **dict.fromkeys(_WINDOW_FUNCTIONS, lambda self: self._parse_window_call()),
        "EXTRACT": lambda self: self._parse_extract_field(),
        **dict.fromkeys(("FLOOR", "CEIL", "CEILING"), lambda self: self._parse_ceil_or_floor()),
    }
    RANGE_PARSERS: ClassVar = {
        **Parser.RANGE_PARSERS,
        TokenType.TILDE: binary_range_parser(exp.RegexpLike),
    }
    QUERY_MODIFIER_PARSERS: ClassVar = {
        **Parser.QUERY_MODIFIER_PARSERS,
        TokenType.WINDOW: lambda self: (
            (NAMED_WINDOWS_ARG, tree.holder(over_clauses.parse_named(self)))
            if over_clauses.at_named(self)
            else self._parse_grouping_window()
        ),
        _EMIT: lambda self: (EMIT_ARG, self._parse_emit()),
        TokenType.PARTITION_BY: lambda self: (PARTITION_BY_ARG, self._parse_rekeying()),
        TokenType.MATCH_RECOGNIZE: lambda self: self._refuse_clause("MATCH_RECOGNIZE"),
    }
    QUERY_MODIFIER_TOKENS: ClassVar = set(QUERY_MODIFIER_PARSERS)

    def raise_error(self, message: str, token: Token = SENTINEL_NONE) -> None:
        """A mistake at its token; sqlglot may still find that the text can be read in another way."""
        token = token or self._curr or self._prev
        text = _reworded(message)
        hint = self._misspelled() if text == "expected the end of the statement" else None
        if token is self._curr and token:
            text += f", found `{token.text}`"
        elif not self._curr and text.startswith("expected"):
            text += ", found the end of the statement"
        raise MistakeError(Problem(text, token_span(token) if token else None, hint))

    def _misspelled(self) -> str | None:
        """A hint where what was read as a name before the mistake looks like the beginning of a clause."""
        for token in (self._prev, self._curr):
            if token and token.token_type is TokenType.VAR and token.text.upper() not in _CLAUSES:
                near = near_name(token.text, _CLAUSES)
                if near is not None:
                    return f"did you mean `{near}` where `{token.text}` stands?"
        return None

    def _parse_csv(self, parse_method: Callable[[], T | None], sep: TokenType = TokenType.COMMA) -> list[T]:
        """A list, with something behind each of its commas (sqlglot lets them stand alone)."""
        first = parse_method()
        items = [first] if first is not None else []
        while self._match(sep):
            item = parse_method()
            if item is None or first is None:
                self.raise_error("expected an expression")
            else:
                items.append(item)
        return items

    # Statements

    def _parse_statement(self) -> Any:
        first = self._curr
        statement: syntax.Statement
        if self._match(TokenType.CREATE):
            statement = self._parse_create_relation(first)
        elif self._match(TokenType.INSERT):
            statement = self._parse_insert_into(first)
        elif self._match(TokenType.SET):
            statement = syntax.SetOption(self._parse_option(), self._span_from(first))
        elif self._match_text_seq("ASSERT"):
            statement = self._parse_assert(first)
        elif self._match_text_seq("RUN"):
            statement = self._parse_run_script(first)
        elif self._match_text_seq("EXPLAIN"):
            statement = syntax.Explain(self._parse_query(), self._span_from(first))
        elif self._match(TokenType.DROP):
            statement = self._parse_drop_relation(first)
        elif self._match(TokenType.SHOW) or self._match_text_seq("LIST"):
            statement = self._parse_listing(first)
        elif self._match(TokenType.DESCRIBE):
            statement = syntax.Describe(self._identifier("a name"), self._span_from(first))
        elif self._curr.token_type in (TokenType.SELECT, TokenType.WITH, TokenType.L_PAREN):
            statement = syntax.Query(self._parse_query(), self._span_from(first))
        else:
            near = near_name(first.text, _STATEMENTS)
            raise sql_error(
                f"a statement cannot start with `{first.text}`",
                token_span(first),
                f"did you mean `{near}`?"
                if near
                else "Headrace reads CREATE, INSERT INTO, SELECT, SET, DROP, EXPLAIN, SHOW and DESCRIBE",
            )
        if self._curr:
            self.raise_error("expected the end of the statement")
        return statement

    def _parse_create_relation(self, first: Token) -> syntax.CreateRelation | syntax.CreateAs | syntax.CreateView:
        existing = syntax.Existing.REFUSE
        if self._match(TokenType.OR):
            if not self._match_text_seq("REPLACE"):
                raise self._expected("REPLACE")
            existing = syntax.Existing.REPLACE
        temporary = self._match_text_seq("TEMPORARY")  # a view of Flink's always is
        if self._match(TokenType.VIEW):
            return self._parse_create_view(first, existing)
        is_view = bool(self._match_text_seq("MATERIALIZED", "VIEW"))  # RisingWave's CREATE TABLE … AS
        if temporary:
            self.raise_error("expected VIEW after CREATE TEMPORARY")
        if self._match_text_seq("STREAM"):
            kind = syntax.RelationKind.STREAM
        elif is_view or self._match(TokenType.TABLE):
            kind = syntax.RelationKind.TABLE
        else:
            if not self._curr:
                raise self._expected("STREAM or TABLE")
            if self._curr.text.upper() == "FUNCTION":
                raise sql_error(
                    "CREATE FUNCTION is not supported: functions are written in Python",
                    token_span(self._curr),
                    "decorate one with @headrace.udf or @headrace.udaf, and give its module: --udf, or App(udfs=…)",
                )
            near = near_name(self._curr.text, ("STREAM", "TABLE", "VIEW", "MATERIALIZED"))
            raise sql_error(
                f"CREATE {self._curr.text.upper()} is not supported yet",
                token_span(self._curr),
                f"did you mean `{near}`?" if near else "CREATE STREAM, CREATE TABLE and CREATE VIEW are",
            )
        existing = self._parse_if_not_exists(existing)
        name = self._identifier("a name")
        columns: list[syntax.ColumnDefinition] = []
        watermark: syntax.WatermarkDefinition | None = None
        keys: list[syntax.Identifier] | None = None
        primary_key = False
        if self._match(TokenType.L_PAREN):
            while True:
                start = self._curr
                if self._match_text_seq("WATERMARK", "FOR"):
                    watermark = self._parse_watermark(start, watermark)
                elif self._curr.token_type is TokenType.PRIMARY_KEY:
                    self._advance()
                    keys = self._parse_names()
                    self._match_text_seq("NOT", "ENFORCED")
                    primary_key = True
                else:
                    column, is_primary = self._parse_column_definition()
                    columns.append(column)
                    primary_key = primary_key or is_primary
                if not self._match(TokenType.COMMA):
                    break
            self._expect(TokenType.R_PAREN, "`,` or `)`")
        options = self._parse_options() if self._match(TokenType.WITH) else ()
        if self._match(TokenType.ALIAS):
            if columns or watermark:
                raise sql_error("a query's columns are those of its SELECT: leave the column list out", name.span)
            return syntax.CreateAs(kind, name, options, self._parse_query(), existing, self._span_from(first))
        if is_view:
            raise self._expected("AS and the query of the view")
        if keys is not None:
            columns = [
                replace(column, key=column.key or any(key.matches(column.name.text) for key in keys))
                for column in columns
            ]
        return syntax.CreateRelation(
            kind, name, tuple(columns), primary_key, watermark, options, existing, self._span_from(first)
        )

    def _parse_if_not_exists(self, existing: syntax.Existing) -> syntax.Existing:
        start = self._curr
        if not self._match_text_seq("IF", "NOT", "EXISTS"):
            return existing
        if existing is syntax.Existing.REPLACE:
            raise sql_error("OR REPLACE does not go with IF NOT EXISTS", self._span_from(start))
        return syntax.Existing.KEEP

    def _parse_drop_relation(self, first: Token) -> syntax.Drop:
        kind: syntax.RelationKind | None = None
        if self._match_text_seq("STREAM"):
            kind = syntax.RelationKind.STREAM
        elif self._match(TokenType.TABLE) or self._match_text_seq("MATERIALIZED", "VIEW"):
            kind = syntax.RelationKind.TABLE
        elif not self._match(TokenType.VIEW):
            raise self._expected("STREAM, TABLE or VIEW")
        if_exists = bool(self._match_text_seq("IF", "EXISTS"))
        name = self._identifier("a name")
        if self._match_text_seq("DELETE", "TOPIC"):
            raise sql_error("DELETE TOPIC is not supported: DROP is about the text of the app", self._span_from(first))
        return syntax.Drop(kind, name, if_exists, self._span_from(first))

    def _parse_listing(self, first: Token) -> syntax.Show:
        subject = self._curr.text.upper() if self._curr else ""
        if subject not in _LISTED:
            raise self._expected("STREAMS, TABLES, VIEWS, QUERIES or TOPICS")
        self._advance()
        return syntax.Show(subject, self._span_from(first))

    def _parse_create_view(self, first: Token, existing: syntax.Existing) -> syntax.CreateView:
        existing = self._parse_if_not_exists(existing)
        name = self._identifier("a name")
        columns = self._parse_names() if self._match(TokenType.L_PAREN, advance=False) else []
        if self._match(TokenType.WITH, advance=False):
            raise sql_error("a view has no options: it has no topic", token_span(self._curr))
        if not self._match(TokenType.ALIAS):
            raise self._expected("AS and the query of the view")
        return syntax.CreateView(name, tuple(columns), self._parse_query(), existing, self._span_from(first))

    def _parse_column_definition(self) -> tuple[syntax.ColumnDefinition, bool]:
        first = self._curr
        name = self._identifier("a column name")
        if self._match(TokenType.ALIAS):
            return self._parse_processing_time(first, name), False
        type_token = self._curr
        data_type = self._parse_types(check_func=False, schema=True, allow_identifiers=False)
        if not isinstance(data_type, exp.DataType):
            word = type_token.text if type_token else ""
            found = f"`{word}`" if type_token else "the end of the statement"
            raise sql_error(
                f"expected a type for column `{name.text}`, found {found}",
                token_span(type_token or first),
                did_you_mean(word, tree.TYPE_NAMES),
            )
        declared, unsigned = tree.convert_type(data_type, self._span_from(type_token))
        key = primary = not_null = False
        part: RecordPart | None = None
        while True:
            if self._match(TokenType.PRIMARY_KEY):
                key = primary = True
            elif self._match_text_seq("KEY"):
                key = True
            elif self._match_text_seq("NOT", "NULL"):
                not_null = True
            elif self._match(TokenType.NULL):
                not_null = False
            elif self._match_text_seq("METADATA"):
                part = self._parse_metadata(name, declared)
            elif self._match_text_seq("HEADER"):
                part = self._parse_header(declared, self._prev)
            elif self._match_text_seq("HEADERS"):
                if declared != LISTED_HEADERS:
                    raise sql_error(f"HEADERS are {LISTED_HEADERS}, found {declared}", token_span(self._prev))
                part = RecordPart(Part.HEADERS)
            else:
                break
        span = self._span_from(first)
        if part is not None and (key or unsigned):
            raise sql_error("a column of METADATA or HEADER is neither KEY nor UNSIGNED", span)
        return syntax.ColumnDefinition(name, declared, key, not_null, unsigned, span, part=part), primary

    def _parse_metadata(self, name: syntax.Identifier, declared: types.Type) -> RecordPart:
        """Flink's `METADATA [FROM 'key'] [VIRTUAL]`."""
        key, span = name.text, name.span
        if self._match(TokenType.FROM):
            token = self._curr
            self._expect(TokenType.STRING, "the name of metadata in quotes")
            key, span = token.text, token_span(token)
        self._match_text_seq("VIRTUAL")
        if key not in METADATA:
            raise sql_error(f"a record has no metadata `{key}`", span, did_you_mean(key, METADATA))
        known, part = METADATA[key]
        if declared not in known:
            raise sql_error(f"the metadata `{key}` is {known[0]}, found {declared}", span)
        return RecordPart(part)

    def _parse_header(self, declared: types.Type, first: Token) -> RecordPart:
        """ksqlDB's `HEADER('name')`."""
        self._expect(TokenType.L_PAREN, "`(`")
        token = self._curr
        self._expect(TokenType.STRING, "the name of a header in quotes")
        self._expect(TokenType.R_PAREN, "`)`")
        if declared not in (types.VARCHAR, types.BYTES):
            raise sql_error(f"a header is VARCHAR or BYTES, found {declared}", self._span_from(first))
        return RecordPart(Part.HEADER, token.text)

    def _parse_processing_time(self, first: Token, name: syntax.Identifier) -> syntax.ColumnDefinition:
        if not self._match_text_seq("PROCTIME", "(", ")"):
            raise sql_error(
                "computed columns are not supported yet", token_span(self._curr or first), "`name AS PROCTIME()` is"
            )
        span = self._span_from(first)
        return syntax.ColumnDefinition(name, types.TIMESTAMP, False, True, False, span, processing_time=True)

    def _parse_watermark(self, first: Token, earlier: syntax.WatermarkDefinition | None) -> syntax.WatermarkDefinition:
        column = self._identifier("a column name")
        delay_ms = 0
        if self._match(TokenType.ALIAS):
            expression = tree.convert_expression(self._parse_disjunction(), self._span_from(first))
            delay_ms = tree.watermark_delay_ms(expression, column)
        span = self._span_from(first)
        if earlier is not None:
            raise sql_error("a source has one WATERMARK", span)
        return syntax.WatermarkDefinition(column, delay_ms, span)

    def _parse_insert_into(self, first: Token) -> syntax.InsertInto | syntax.InsertValues:
        if not self._match(TokenType.INTO):
            self.raise_error("expected INTO")
        target = self._identifier("the name of a stream or table")
        names = self._parse_names() if self._match(TokenType.L_PAREN, advance=False) else None
        columns = None if names is None else tuple(names)
        if self._match(TokenType.VALUES):
            rows = self._parse_values_rows()
            return syntax.InsertValues(target, columns, rows, self._span_from(first))
        query = self._parse_query()
        return syntax.InsertInto(target, columns, query, self._span_from(first))

    def _parse_values_rows(self) -> tuple[syntax.ValuesRow, ...]:
        rows = [self._parse_values_row()]
        while self._match(TokenType.COMMA):
            rows.append(self._parse_values_row())
        return tuple(rows)

    def _parse_values_row(self) -> syntax.ValuesRow:
        first = self._curr or self._prev
        self._expect(TokenType.L_PAREN, "`(` and the values of a row")
        values: list[syntax.Expression] = []
        while True:
            start = self._curr or self._prev
            values.append(tree.convert_expression(self._parse_disjunction(), token_span(start)))
            if not self._match(TokenType.COMMA):
                break
        self._expect(TokenType.R_PAREN, "`,` or `)`")
        return syntax.ValuesRow(tuple(values), self._span_from(first))

    # What only `headrace test` runs

    def _parse_assert(self, first: Token) -> syntax.Assertion:
        """ksqlDB's ASSERT [NULL] VALUES, ASSERT STREAM and ASSERT TABLE."""
        word = self._curr.text.upper() if self._curr else ""
        if word in ("STREAM", "TABLE"):
            wanted = self._parse_create_relation(first)
            if not isinstance(wanted, syntax.CreateRelation):
                raise sql_error("ASSERT takes columns and options, no query", wanted.query.span)
            return syntax.AssertRelation(wanted, self._span_from(first))
        is_tombstone = self._match(TokenType.NULL)
        if not self._match(TokenType.VALUES):
            raise self._expected("VALUES, NULL VALUES, STREAM or TABLE after ASSERT")
        target = self._identifier("the name of a stream or table")
        names = self._parse_names() if self._match(TokenType.L_PAREN, advance=False) else None
        columns = None if names is None else tuple(names)
        if is_tombstone:
            if not self._match_text_seq("KEY"):
                raise self._expected("KEY and the key of the deleted row")
            rows = self._parse_values_rows()
            return syntax.AssertTombstones(target, columns, rows, self._span_from(first))
        if not self._match(TokenType.VALUES):
            raise self._expected("VALUES and the expected rows")
        rows = self._parse_values_rows()
        return syntax.AssertValues(target, columns, rows, self._span_from(first))

    def _parse_run_script(self, first: Token) -> syntax.RunScript:
        if not self._match_text_seq("SCRIPT"):
            raise self._expected("SCRIPT and the name of a file")
        name = self._curr
        self._expect(TokenType.STRING, "the name of a file, in quotes")
        return syntax.RunScript(syntax.StringLiteral(name.text, token_span(name)), self._span_from(first))

    def _parse_options(self) -> tuple[syntax.Option, ...]:
        self._expect(TokenType.L_PAREN, "`(`")
        options = [self._parse_option()]
        while self._match(TokenType.COMMA):
            options.append(self._parse_option())
        self._expect(TokenType.R_PAREN, "`,` or `)`")
        return tuple(options)

    def _parse_option(self) -> syntax.Option:
        first = self._curr
        if not first or first.token_type in (TokenType.R_PAREN, TokenType.EQ):
            self.raise_error("expected the name of an option")
        self._advance()
        key = first.text
        while first.token_type is not TokenType.STRING and self._match(TokenType.DOT):
            key += f".{self._curr.text}"
            self._advance()
        key_span = self._span_from(first)
        self._expect(TokenType.EQ, "`=`")
        sign = "-" if self._match(TokenType.DASH) else ""
        value = self._curr
        if not value or value.token_type in (TokenType.R_PAREN, TokenType.COMMA):
            self.raise_error("expected a value")
        self._advance()
        return syntax.Option(key, sign + value.text, key_span, token_span(value))

    def _parse_names(self) -> list[syntax.Identifier]:
        self._expect(TokenType.L_PAREN, "`(`")
        names = [self._identifier("a column name")]
        while self._match(TokenType.COMMA):
            names.append(self._identifier("a column name"))
        self._expect(TokenType.R_PAREN, "`,` or `)`")
        return names

    # Queries

    def _parse_query(self) -> syntax.SelectQuery:
        """SELECT or queries with UNION between them, perhaps behind WITH."""
        first = self._curr
        commons = tuple(self._parse_commons()) if self._match(TokenType.WITH) else ()
        query = self._parse_branch()
        while self._curr and self._curr.token_type in self.SET_OPERATIONS:
            if not self._match(TokenType.UNION):
                raise sql_error(f"{self._curr.text.upper()} is not supported yet", token_span(self._curr))
            distinct = not self._match(TokenType.ALL)
            if distinct:
                self._match(TokenType.DISTINCT)
            before: tuple[syntax.SelectQuery, ...] = (query,)
            if isinstance(query, syntax.Union) and query.distinct is distinct and not query.commons:
                before = query.branches
            branches = (*before, self._parse_branch())
            query = syntax.Union((), branches, distinct, self._span_from(first))
        return replace(query, commons=(*commons, *query.commons))

    def _parse_branch(self) -> syntax.SelectQuery:
        """A SELECT, or a query in parentheses."""
        first = self._curr
        if self._match(TokenType.L_PAREN):
            query = self._parse_query()
            self._expect(TokenType.R_PAREN, "`)`")
            return query
        parsed = self._parse_query_modifiers(self._parse_select(parse_set_operation=False))
        if parsed is None:
            raise self._expected("SELECT")
        closed = self._match(TokenType.R_PAREN, advance=False)
        if self._curr and not closed and not parsed.args.get("from_"):  # what stopped the reading, not that FROM misses
            self.raise_error("expected the end of the statement")
        return tree.convert_select(parsed, self._span_from(first))

    def _parse_commons(self) -> Iterator[syntax.CommonTable]:
        if self._match(TokenType.RECURSIVE, advance=False):
            raise sql_error("WITH RECURSIVE is not supported yet", token_span(self._curr))
        while True:
            name = self._identifier("the name of a query")
            columns = self._parse_names() if self._match(TokenType.L_PAREN, advance=False) else []
            if not self._match(TokenType.ALIAS):
                raise self._expected("AS and a query")
            self._expect(TokenType.L_PAREN, "`(`")
            query = self._parse_query()
            self._expect(TokenType.R_PAREN, "`)`")
            yield syntax.CommonTable(name, tuple(columns), query)
            if not self._match(TokenType.COMMA):
                return

    def _parse_with(self, skip_with_token: bool = False) -> exp.With | None:  # noqa: FBT001, FBT002 (sqlglot's signature)
        if not skip_with_token and self._match(TokenType.WITH, advance=False):
            raise sql_error("WITH in an expression is not supported yet", token_span(self._curr))
        return super()._parse_with(skip_with_token)

    def _parse_window(self, this: exp.Expr | None, alias: bool = False) -> exp.Expr | None:  # noqa: FBT001, FBT002
        if this is not None:
            this = self._parse_aggregate_clauses(this)
        respects_nulls = this is not None and self._match_text_seq("RESPECT", "NULLS")  # as OVER does anyway
        if this is None or not self._match_text_seq("OVER"):
            if respects_nulls:
                self.raise_error("expected OVER")
            return super()._parse_window(this, alias)
        window = exp.Window(this=this)
        window.set(OVER_ARG, tree.holder(over_clauses.parse_over(self)))
        return window

    def _parse_aggregate_clauses(self, this: exp.Expr) -> exp.Expr:
        """WITHIN GROUP and FILTER behind a call."""
        if self._match_text_seq("WITHIN", "GROUP"):
            self._expect(TokenType.L_PAREN, "`(`")
            if not self._match(TokenType.ORDER_BY, advance=False):
                self.raise_error("expected ORDER BY")
            this = exp.WithinGroup(this=this, expression=self._parse_order())
            self._expect(TokenType.R_PAREN, "`)`")
        if self._match_pair(TokenType.FILTER, TokenType.L_PAREN):
            self._expect(TokenType.WHERE, "WHERE")
            this = exp.Filter(this=this, expression=self._parse_disjunction())
            self._expect(TokenType.R_PAREN, "`)`")
        return this

    def _parse_emit(self) -> exp.Expr:
        token = self._curr
        self._advance()
        words = " ".join(token.text.upper().split())
        every_ms: int | None = None
        if words == "EMIT" and self._match_text_seq("EVERY"):
            every_ms = self._parse_duration_ms()
        elif words not in _EMIT_WORDS:
            near = near_name(self._curr.text if self._curr else "", ("CHANGES", "FINAL", "EVERY"))
            raise sql_error(
                "expected CHANGES, FINAL, ON WINDOW CLOSE or EVERY and a duration after EMIT",
                token_span(self._curr or token),
                f"did you mean `{near}`?" if near else None,
            )
        emit = _EMIT_WORDS.get(words, syntax.Emit.CHANGES)
        return tree.holder(syntax.EmitClause(emit, every_ms, self._span_from(token)))

    def _parse_rekeying(self) -> exp.Expr:
        first = self._curr
        self._advance()
        around = token_span(first)
        keys = [tree.convert_expression(key, around) for key in self._parse_csv(self._parse_disjunction)]
        if not keys:
            self.raise_error("expected an expression")
        return tree.holder(tuple(keys))

    def _refuse_clause(self, name: str) -> NoReturn:
        raise sql_error(f"{name} is not supported yet", token_span(self._curr))

    def _parse_grouping_window(self) -> tuple[str, exp.Expr]:
        first = self._curr
        self._advance()
        word = self._curr
        if not word or word.text.upper() not in _WINDOWS:
            self.raise_error("expected TUMBLING, HOPPING, SESSION or CUMULATE")
        self._advance()
        self._expect(TokenType.L_PAREN, "`(`")
        window = self._parse_window_arguments(word.text.upper(), first, None)
        self._expect(TokenType.R_PAREN, "`,` or `)`")
        return GROUPING_WINDOW_ARG, tree.holder(replace(window, span=self._span_from(first)))

    def _parse_window_call(self) -> exp.Expr:
        """`TUMBLE(time, size)` in GROUP BY, behind its opening parenthesis; sqlglot takes the closing one."""
        first = self._tokens[self._index - 2]
        window = self._parse_window_arguments(first.text.upper(), first, None)
        window = replace(window, span=Span(first.start, (self._curr or self._prev).end + 1))
        node = tree.holder(window)
        node.meta.update(start=window.span.start, end=window.span.end - 1)
        return node

    def _parse_window_arguments(self, name: str, first: Token, time: syntax.Expression | None) -> syntax.WindowClause:
        """What stands between the parentheses of a window: perhaps its time column, durations, a time zone."""
        kind, positional = _WINDOWS[name]
        names = (*positional, "GRACE PERIOD")
        unnamed = iter(positional)
        given: dict[str, int] = {}
        zone: syntax.StringLiteral | None = None
        while True:
            start = self._curr
            named = next((word for word in names if self._match_text_seq(*word.split())), None)
            if named is None and self._match_text_seq("RETENTION"):
                raise sql_error(
                    "RETENTION is not supported: the state of a closed window is freed at once", token_span(start)
                )
            if named is None and (self._match_text_seq("TIMEZONE") or self._match_text_seq("TIME", "ZONE")):
                text = self._curr
                self._expect(TokenType.STRING, "the name of a time zone, such as 'Europe/Paris'")
                zone = syntax.StringLiteral(text.text, token_span(text))
            elif named is not None or self._at_duration():
                named = named or next(unnamed, None)
                if named is None or named in given:
                    raise sql_error(f"{name} has durations for {', '.join(names)}, each once", token_span(start))
                given[named] = self._parse_duration_ms()
            elif time is None and not given:
                time = tree.convert_expression(self._parse_disjunction(), token_span(start))
            else:
                self.raise_error(f"expected {', '.join(names)} or `)`" if given else "expected a duration")
            if not self._match(TokenType.COMMA):
                break
        span = self._span_from(first)
        size = "GAP" if kind is _SESSION else "SIZE"
        step = next((word for word in positional if word in ("ADVANCE BY", "STEP")), None)
        for needed in (size, step):
            if needed is not None and needed not in given:
                raise sql_error(f"{name} needs its {needed}", span, _WINDOW_EXAMPLES[kind])
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

    def _parse_table(self, *arguments: Any, **options: Any) -> exp.Expr | None:
        """FROM: a query in parentheses, or a window function.

        Flink's is `TABLE(TUMBLE(TABLE t, DESCRIPTOR(c), size))`, RisingWave's `TUMBLE(t, c, size)`.
        """
        first = self._curr
        if self._match(TokenType.TABLE):
            self._expect(TokenType.L_PAREN, "`(`")
            parsed = self._parse_window_function(first)
            self._expect(TokenType.R_PAREN, "`)`")
        elif first and first.text.upper() in _WINDOW_FUNCTIONS and self._next.token_type is TokenType.L_PAREN:
            parsed = self._parse_window_function(first)
        elif self._match(TokenType.L_PAREN):
            parsed = exp.Table(this=tree.holder((self._parse_query(), None)))
            self._expect(TokenType.R_PAREN, "`)`")
        else:
            return super()._parse_table(*arguments, **options)
        parsed.set("alias", self._parse_table_alias())
        return parsed

    def _parse_bracket(self, this: Any = None) -> Any:
        first = self._curr
        node = super()._parse_bracket(this)
        return node if node is this else _placed(node, first)

    def _parse_types(self, *arguments: Any, **options: Any) -> exp.Expr | None:
        first = self._curr
        parsed = super()._parse_types(*arguments, **options)
        if isinstance(parsed, exp.DataType) and first:
            parsed.meta.update(start=first.start, end=self._prev.end)
        return parsed

    def _parse_join(self, *arguments: Any, **options: Any) -> exp.Join | None:
        first = self._curr
        return _placed(super()._parse_join(*arguments, **options), first)

    def _parse_window_function(self, first: Token) -> exp.Table:
        name = self._curr
        word = name.text.upper() if name else ""
        if word not in _WINDOW_FUNCTIONS:
            raise sql_error(
                f"{word or 'this'} is not supported in FROM yet",
                token_span(name or first),
                f"{', '.join(_WINDOW_FUNCTIONS)} are",
            )
        self._advance()
        self._expect(TokenType.L_PAREN, "`(`")
        self._match(TokenType.TABLE)
        relation = self._identifier("the name of a stream")
        keys: tuple[syntax.Identifier, ...] = ()
        if self._match(TokenType.PARTITION_BY):
            keys = self._parse_partition_keys()
        self._expect(TokenType.COMMA, "`,`")
        if self._match_text_seq("DESCRIPTOR"):
            self._expect(TokenType.L_PAREN, "`(`")
            column = self._identifier("a column name")
            self._expect(TokenType.R_PAREN, "`)`")
        else:
            column = self._identifier("a column name")
        self._expect(TokenType.COMMA, "`,`")
        window = self._parse_window_arguments(word, first, syntax.Name(column, None, column.span))
        self._expect(TokenType.R_PAREN, "`)`")
        placed = replace(window, partition_by=keys, span=self._span_from(first))
        return exp.Table(this=tree.holder((relation, placed)))

    def _parse_partition_keys(self) -> tuple[syntax.Identifier, ...]:
        if self._match(TokenType.L_PAREN, advance=False):
            return tuple(self._parse_names())
        return (self._identifier("a column name"),)

    # Times

    def _parse_moment(self) -> exp.Expr:
        token = self._prev
        if self._match(TokenType.L_PAREN):
            self._expect(TokenType.R_PAREN, "`)`")
        return _placed(exp.Anonymous(this=token.text, expressions=[]), token)

    def _parse_extract_field(self) -> exp.Expr:
        """`EXTRACT(field FROM time)`, behind its opening parenthesis."""
        token, field = self._tokens[self._index - 2], self._curr
        if not field or field.token_type in (TokenType.R_PAREN, TokenType.FROM):
            self.raise_error("expected the field to extract")
        self._advance()
        if not self._match(TokenType.FROM):
            self._expect(TokenType.COMMA, "FROM")
        name = _placed(exp.Var(this=field.text), field)
        return _placed(exp.Extract(this=name, expression=self._parse_bitwise()), token)

    def _parse_ceil_or_floor(self) -> exp.Expr:
        """`FLOOR(x)`, or Flink's `FLOOR(time TO unit)`, behind its opening parenthesis."""
        token = self._tokens[self._index - 2]
        arguments = self._parse_csv(self._parse_lambda)
        name = token.text.upper()
        if arguments and self._match_text_seq("TO"):
            unit = exp.Literal.string(self._curr.text)
            arguments.append(_placed(unit, self._curr))
            self._advance()
            name = f"TIME_{name.replace('CEILING', 'CEIL')}"
        return _placed(exp.Anonymous(this=name, expressions=arguments), token)

    def _parse_interval(
        self,
        require_interval: bool = True,  # noqa: ARG002, FBT001, FBT002 (sqlglot's signature)
        parse_function_unit: bool = True,  # noqa: ARG002, FBT001, FBT002
    ) -> Any:
        """`INTERVAL '1' DAY`, `INTERVAL '1-3' YEAR TO MONTH`, `INTERVAL '1 day 2 hours'`, `INTERVAL n DAY`."""
        index, first = self._index, self._curr
        if not self._match(TokenType.INTERVAL):
            return None
        sign = "-" if self._match(TokenType.DASH) else ""
        amount = self._curr
        if self._match_set((TokenType.STRING, TokenType.NUMBER)):
            units = self._parse_units()
            if not units and amount.text.strip().isdigit() and self._curr.token_type is TokenType.VAR:
                units = (self._curr.text,)  # refused, for it is no unit
                self._advance()
            literal = tree.interval(sign + amount.text.strip(), units, self._span_from(first))
            return self._held_from(first, literal)
        expression = self._parse_unary() if amount and not sign else None
        units = self._parse_units() if expression is not None else ()
        if expression is None or len(units) != 1:  # a column of that name
            self._retreat(index)
            return None
        span = self._span_from(first)
        return self._held_from(first, tree.multiple(tree.convert_expression(expression, span), units[0], span))

    def _parse_units(self) -> tuple[str, ...]:
        """`DAY`, or `DAY TO SECOND`, by the names of the units; nothing where no unit follows."""
        token = self._curr
        if not token or token.token_type in (TokenType.STRING, TokenType.NUMBER, TokenType.IDENTIFIER):
            return ()
        unit = intervals.unit_of(token.text)
        if unit is None:
            return ()
        self._advance()
        if not self._match_text_seq("TO"):
            return (unit,)
        last = intervals.unit_of(self._curr.text) if self._curr else None
        if last is None:
            raise self._expected("a unit of time")
        self._advance()
        return (unit, last)

    def _held_from(self, first: Token, expression: syntax.Expression) -> exp.Expr:
        node = tree.holder(expression)
        node.meta.update(start=first.start, end=self._prev.end)
        return node

    # Durations and small parts

    def _at_duration(self) -> bool:
        token = self._next if self._curr.token_type is TokenType.DASH else self._curr
        return bool(token) and token.token_type in (TokenType.INTERVAL, TokenType.NUMBER)

    def _parse_duration_ms(self) -> int:
        first = self._curr
        sign = -1 if self._match(TokenType.DASH) else 1
        self._match(TokenType.INTERVAL)
        amount = self._curr
        if amount.token_type not in (TokenType.STRING, TokenType.NUMBER):
            self.raise_error("expected a duration such as INTERVAL '1' MINUTE, 1 MINUTE or 1m")
        self._advance()
        units = self._parse_units()
        if not units and amount.token_type is TokenType.NUMBER and self._curr.token_type is TokenType.VAR:
            units = (self._curr.text,)  # refused, for it is no unit
            self._advance()
        span = self._span_from(first)
        return sign * tree.duration(amount.text.strip(), units, span)

    def _identifier(self, what: str) -> syntax.Identifier:
        token = self._curr
        parsed = self._parse_id_var(any_token=False)
        if not isinstance(parsed, exp.Identifier):
            raise self._expected(what)
        name = tree.checked_name(parsed.this, token_span(token))
        return syntax.Identifier(name, bool(parsed.args.get("quoted")), token_span(token))

    def _expected(self, what: str) -> SqlError:
        token = self._curr or self._prev
        found = f", found `{token.text}`" if self._curr else ", found the end of the statement"
        return sql_error(f"expected {what}{found}", token_span(token) if token else None)

    def _expect(self, token_type: TokenType, what: str) -> None:
        if not self._match(token_type):
            self.raise_error(f"expected {what}")

    def _span_from(self, first: Token) -> Span:
        last = self._prev or first
        return Span(first.start, max(last.end, first.end) + 1)


class Headrace(Dialect):
    """PostgreSQL's rules for names, literals, and where NULLs are in an order."""

    NULL_ORDERING = "nulls_are_large"

    def to_json_path(self, path: exp.Expr | None) -> exp.Expr | None:
        """What stands behind `->`, as it is."""
        return path

    Tokenizer = HeadraceTokenizer
    Parser = HeadraceParser

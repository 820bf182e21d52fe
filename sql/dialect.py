"""Headrace's SQL as a sqlglot dialect: its tokens, its queries, and where sqlglot's parser hands over.

sqlglot parses expressions and the SELECT skeleton. What is Headrace's own is read here and by functions over this
parser: statements, and the clauses of columns, windows, OVER and intervals. Every function of SQL arrives as a plain
call by name (sqlglot's own table of functions is empty), because the meaning of functions is the registry's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError
from sqlglot.parser import SENTINEL_NONE, Parser, binary_range_parser
from sqlglot.tokenizer_core import Token, TokenType
from sqlglot.tokens import Tokenizer

from headrace.sql import interval_clauses, over_clauses, statements, syntax, window_clauses
from headrace.sql.errors import Problem, Span, SqlError, near_name, sql_error
from headrace.sql.tree.expressions import convert_expression
from headrace.sql.tree.nodes import (
    EMIT_ARG,
    GROUPING_WINDOW_ARG,
    NAMED_WINDOWS_ARG,
    OVER_ARG,
    PARTITION_BY_ARG,
    checked_name,
    holder,
    placed,
    token_span,
)
from headrace.sql.tree.queries import convert_select
from headrace.sql.vocabulary import Emit

_EMIT = TokenType.CLUSTER_BY  # a token type this dialect has no other use for, spent on EMIT
_PLAIN_WORDS = ("SESSION", "CLUSTER BY")  # keywords of sqlglot's that are none here
_MOMENTS = ("CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "CURRENT_DATE", "CURRENT_TIME", "LOCALTIME")
"""Functions that are called without parentheses."""
_EMIT_WORDS = {
    "EMIT CHANGES": Emit.CHANGES,
    "EMIT FINAL": Emit.FINAL,
    "EMIT ON WINDOW CLOSE": Emit.FINAL,
}

_CLAUSES = ("FROM", "WHERE", "GROUP", "HAVING", "WINDOW", "EMIT", "PARTITION", "ORDER", "LIMIT", "UNION", "SELECT")

T = TypeVar("T")


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
        **dict.fromkeys(syntax.WINDOW_FUNCTIONS, window_clauses.parse_call),
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
            (NAMED_WINDOWS_ARG, holder(over_clauses.parse_named(self)))
            if over_clauses.at_named(self)
            else (GROUPING_WINDOW_ARG, holder(window_clauses.parse_grouping(self)))
        ),
        _EMIT: lambda self: (EMIT_ARG, self._parse_emit()),
        TokenType.PARTITION_BY: lambda self: (PARTITION_BY_ARG, self._parse_rekeying()),
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

    def _parse_statement(self) -> Any:
        return statements.parse_statement(self)

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
        return convert_select(parsed, self._span_from(first))

    def _parse_commons(self) -> Iterator[syntax.CommonTable]:
        if self._match(TokenType.RECURSIVE, advance=False):
            raise sql_error("WITH RECURSIVE is not supported yet", token_span(self._curr))
        while True:
            name = self._identifier("the name of a query")
            columns = self._names() if self._match(TokenType.L_PAREN, advance=False) else []
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
        window.set(OVER_ARG, holder(over_clauses.parse_over(self)))
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
            every_ms = interval_clauses.parse_duration_ms(self)
        elif words not in _EMIT_WORDS:
            near = near_name(self._curr.text if self._curr else "", ("CHANGES", "FINAL", "EVERY"))
            raise sql_error(
                "expected CHANGES, FINAL, ON WINDOW CLOSE or EVERY and a duration after EMIT",
                token_span(self._curr or token),
                f"did you mean `{near}`?" if near else None,
            )
        emit = _EMIT_WORDS.get(words, Emit.CHANGES)
        return holder(syntax.EmitClause(emit, every_ms, self._span_from(token)))

    def _parse_rekeying(self) -> exp.Expr:
        first = self._curr
        self._advance()
        around = token_span(first)
        keys = [convert_expression(key, around) for key in self._parse_csv(self._parse_disjunction)]
        if not keys:
            self.raise_error("expected an expression")
        return holder(tuple(keys))

    def _parse_table(self, *arguments: Any, **options: Any) -> exp.Expr | None:
        """FROM: a query in parentheses, or a window function.

        Flink's is `TABLE(TUMBLE(TABLE t, DESCRIPTOR(c), size))`, RisingWave's `TUMBLE(t, c, size)`.
        """
        first = self._curr
        if self._match(TokenType.TABLE):
            self._expect(TokenType.L_PAREN, "`(`")
            parsed = window_clauses.parse_function(self, first)
            self._expect(TokenType.R_PAREN, "`)`")
        elif first and first.text.upper() in syntax.WINDOW_FUNCTIONS and self._next.token_type is TokenType.L_PAREN:
            parsed = window_clauses.parse_function(self, first)
        elif self._match(TokenType.L_PAREN):
            parsed = exp.Table(this=holder((self._parse_query(), None)))
            self._expect(TokenType.R_PAREN, "`)`")
        else:
            return super()._parse_table(*arguments, **options)
        parsed.set("alias", self._parse_table_alias())
        return parsed

    def _parse_bracket(self, this: Any = None) -> Any:
        first = self._curr
        node = super()._parse_bracket(this)
        return node if node is this else placed(node, first)

    def _parse_types(self, *arguments: Any, **options: Any) -> exp.Expr | None:
        first = self._curr
        if options.get("check_func") and self._at_operands():
            return None
        parsed = super()._parse_types(*arguments, **options)
        return placed(parsed, first, self._prev) if isinstance(parsed, exp.DataType) and first else parsed

    def _at_operands(self) -> bool:
        """Whether operands or elements follow the word at hand, which makes it a call or an ARRAY and no type.

        sqlglot would read them as a type's first, and then again, which doubles with each level that they nest.
        """
        index = self._index + 2
        if self._next.token_type is TokenType.L_BRACKET:
            return self._kind_at(index) is not TokenType.R_BRACKET
        if self._next.token_type is not TokenType.L_PAREN:
            return False
        while self._kind_at(index) in (TokenType.NUMBER, TokenType.COMMA):
            index += 1
        return self._kind_at(index) is not TokenType.R_PAREN

    def _kind_at(self, index: int) -> TokenType | None:
        return self._tokens[index].token_type if index < len(self._tokens) else None

    def _parse_join(self, *arguments: Any, **options: Any) -> exp.Join | None:
        first = self._curr
        return placed(super()._parse_join(*arguments, **options), first)

    # Times

    def _parse_moment(self) -> exp.Expr:
        token = self._prev
        if self._match(TokenType.L_PAREN):
            self._expect(TokenType.R_PAREN, "`)`")
        return placed(exp.Anonymous(this=token.text, expressions=[]), token)

    def _parse_extract_field(self) -> exp.Expr:
        """`EXTRACT(field FROM time)`, behind its opening parenthesis."""
        token, field = self._tokens[self._index - 2], self._curr
        if not field or field.token_type in (TokenType.R_PAREN, TokenType.FROM):
            self.raise_error("expected the field to extract")
        self._advance()
        if not self._match(TokenType.FROM):
            self._expect(TokenType.COMMA, "FROM")
        name = placed(exp.Var(this=field.text), field)
        return placed(exp.Extract(this=name, expression=self._parse_bitwise()), token)

    def _parse_ceil_or_floor(self) -> exp.Expr:
        """`FLOOR(x)`, or Flink's `FLOOR(time TO unit)`, behind its opening parenthesis."""
        token = self._tokens[self._index - 2]
        arguments = self._parse_csv(self._parse_lambda)
        name = token.text.upper()
        if arguments and self._match_text_seq("TO"):
            if not self._curr:
                raise self._expected("a unit of time")
            unit = exp.Literal.string(self._curr.text)
            arguments.append(placed(unit, self._curr))
            self._advance()
            name = f"TIME_{name.replace('CEILING', 'CEIL')}"
        return placed(exp.Anonymous(this=name, expressions=arguments), token)

    def _parse_interval(
        self,
        require_interval: bool = True,  # noqa: ARG002, FBT001, FBT002 (sqlglot's signature)
        parse_function_unit: bool = True,  # noqa: ARG002, FBT001, FBT002
    ) -> Any:
        return interval_clauses.parse_interval(self)

    # What functions over this parser share

    def _identifier(self, what: str) -> syntax.Identifier:
        token = self._curr
        parsed = self._parse_id_var(any_token=False)
        if not isinstance(parsed, exp.Identifier):
            raise self._expected(what)
        name = checked_name(parsed.this, token_span(token))
        return syntax.Identifier(name, bool(parsed.args.get("quoted")), token_span(token))

    def _names(self) -> list[syntax.Identifier]:
        self._expect(TokenType.L_PAREN, "`(`")
        names = [self._identifier("a column name")]
        while self._match(TokenType.COMMA):
            names.append(self._identifier("a column name"))
        self._expect(TokenType.R_PAREN, "`,` or `)`")
        return names

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

"""How deep and how large a text may be: what is beyond is refused here, before Python's own limits are met."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache

from sqlglot.tokenizer_core import Token, TokenType

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql.errors import Span, SqlError, sql_error
from headrace.sql.types import Type

MOST_OPEN = 32
"""So many parentheses and CASE may be open at one place."""
MOST_DEEP = 150
"""So many operations may stand inside of each other."""
MOST_NESTED = 170
"""So many parentheses may the code of an expression open at one place: Python reads 200."""
MOST_PARTS = 20_000
"""So many parts may the code of an expression have."""
MOST_STEPS = 80
"""So many filters, projections and aggregations may stand between a source and a sink: Python indents 100 times."""

_OPENING = frozenset((TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE))
_CLOSING = frozenset((TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END))
_PREFIXES = frozenset((TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE, TokenType.INTERVAL))


def too_deep(span: Span) -> SqlError:
    return sql_error("the statement is nested too deeply", span, "name parts of it in queries of WITH")


def check_tokens(tokens: Iterable[Token]) -> None:
    """SqlError where too much is open at one place, brackets or signs before an operand."""
    opened = prefixes = 0
    for token in tokens:
        prefixes = prefixes + 1 if token.token_type in _PREFIXES else 0
        opened = max(0, opened + (token.token_type in _OPENING) - (token.token_type in _CLOSING))
        if opened + prefixes > MOST_OPEN:
            raise too_deep(Span(token.start, token.end + 1))


def check_depth(statement: object, whole: Span) -> None:
    """SqlError where too many operations of a statement's syntax stand inside of each other."""
    waiting = [(statement, 0)]
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, tuple):
            waiting.extend((part, depth) for part in node)
        elif is_dataclass(node) and not isinstance(node, (Span, Type)):
            if depth > MOST_DEEP:
                raise too_deep(getattr(node, "span", whole))
            waiting.extend((getattr(node, field.name), depth + 1) for field in fields(node))


def check_steps(node: p.Node, span: Span) -> None:
    """SqlError where too many queries stand upon each other."""
    steps: dict[int, int] = {}
    waiting = [(node, 0)]
    while waiting:
        above, count = waiting.pop()
        if count > steps.get(id(above), -1):
            steps[id(above)] = count
            waiting.extend((below, count + 1) for below in p.inputs(above))
    if max(steps.values()) > MOST_STEPS:
        raise sql_error(
            f"more than {MOST_STEPS} filters, projections and aggregations stand upon each other here",
            span,
            "let another app read the topic of a query between",
        )


@dataclass(frozen=True, slots=True)
class Extent:
    """Of the code of an expression: parentheses that are open at one place, and parts. `test`: of a condition."""

    nested: int
    parts: int
    test_parts: int


class Extents:
    """How large the code of expressions becomes, each measured once however often it is used in others."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[e.Expr, Extent]] = {}

    def check(self, expression: e.Expr, span: Span) -> None:
        """SqlError for code that Python would not read, or not in sensible time."""
        extent = self._extent(expression)
        if extent.nested > MOST_NESTED:
            raise too_deep(span)
        if extent.parts > MOST_PARTS:
            raise sql_error("the expression is too large", span, "name parts of it in queries of WITH")

    def _extent(self, expression: e.Expr) -> Extent:
        known = self._known.get(id(expression))
        if known is None:
            known = expression, self._measured(expression)
            self._known[id(expression)] = known  # with the expression itself, so that its id stays its own
        return known[1]

    def _measured(self, expression: e.Expr) -> Extent:
        operands = [self._extent(child) for child in e.children(expression)]
        nested = max((operand.nested for operand in operands), default=0) + _opened(expression)
        values = 1 + sum(operand.parts for operand in operands)
        tests = 1 + sum(operand.test_parts for operand in operands)
        match expression:
            case e.Shared():
                operand = self._extent(expression.shown)
                return Extent(0, operand.parts, operand.test_parts)
            case e.Logical() | e.Not():
                return Extent(nested, values, tests)
            case e.IsTruth():
                return Extent(nested, tests, tests)
            case e.Case():
                conditions = sum(self._extent(when).test_parts for when, _ in expression.branches)
                results = sum(self._extent(then).parts for _, then in expression.branches)
                parts = conditions + results + self._extent(expression.default).parts
                return Extent(nested + len(expression.branches) // 10, parts, parts)
        return Extent(nested, values, values)


def _opened(expression: e.Expr) -> int:
    """Parentheses that the code of an expression opens around that of an operand, at most."""
    match expression:
        case e.Column() | e.Literal() | e.Shared():
            return 0
        case e.Call():
            return 1 + _opened_by(expression.signature.template)
        case e.Arithmetic() | e.Cast():
            return 3
        case e.Coalesce():
            return 1 + len(expression.operands)
    return 2


@lru_cache(maxsize=1000)
def _opened_by(template: str) -> int:
    opened = most = 0
    for character in template:
        opened += (character in "([{") - (character in ")]}")
        most = max(most, opened)
    return max(most, 2)

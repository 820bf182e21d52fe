"""Binding of expressions: names to columns, calls to functions, every operand converted to the type it is used as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Protocol

from headrace.sql import expressions as e
from headrace.sql import lambdas, nesting, time_calls
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.aggregate_calls import bind_aggregate, check_plain
from headrace.sql.errors import Span, near_name, sql_error
from headrace.sql.functions import headers, patterns, scalars
from headrace.sql.inspection import is_aggregate, walk
from headrace.sql.limits import Extents
from headrace.sql.operations import (
    arithmetic,
    call,
    cast,
    check_prepared,
    coerce,
    number,
    rewritten,
    together,
    type_of,
)
from headrace.sql.record_parts import HEADERS_COLUMN
from headrace.sql.scopes import WINDOW_NAMES, Scope, names_window
from headrace.sql.vocabulary import Match

_PLAIN_TYPES = frozenset(t.Kind) - {"NULL", "ARRAY", "MAP", "STRUCT"}
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")


class Grouping:
    """The keys and window of a grouped query, and the aggregate calls collected while its expressions are bound."""

    def __init__(self, keys: Iterable[tuple[str, e.Expr]], window_columns: tuple[e.Column, ...]) -> None:
        self.keys = tuple(keys)
        self.window_columns = window_columns
        self.calls: dict[e.AggregateCall, str] = {}

    def window_column(self, which: int) -> e.Expr:
        """The start, the end or the last millisecond of the window."""
        if which < len(self.window_columns):
            return self.window_columns[which]
        return e.Arithmetic("-", self.window_columns[1], e.Literal(1, t.INTERVAL), t.TIMESTAMP)

    def key_of(self, expression: e.Expr) -> e.Column | None:
        for name, key in self.keys:
            if key == expression:
                return e.Column(name, key.type, key.nullable)
        return None

    def call(self, call: e.AggregateCall) -> e.Column:
        taken = {key for key, _ in self.keys}
        name = self.calls.setdefault(call, e.free_name(f"{call.function.name.lower()}_{len(self.calls)}", taken))
        return e.Column(name, call.type, call.nullable)


class Arrays(Protocol):
    """The arrays whose elements come out side by side: EXPLODE among the columns."""

    def column(self, array: e.Expr, node: s.FunctionCall) -> e.Column:
        """The column of the elements of an array."""


class Overs(Protocol):
    """The OVER calls of a query."""

    def call(self, node: s.OverCall) -> e.Column:
        """The column of a call's results."""


WINDOW_CALLS = {
    f"{kind}_{end}": index for kind in s.WINDOW_FUNCTIONS for index, end in enumerate(("START", "END", "ROWTIME"))
}
"""Functions of the query's window, and which of its three times each is."""


class ExpressionBinder:
    """Binds the expressions of one query. With a grouping, those above it: keys, window columns and aggregate calls;
    with `overs`, those that hold OVER.
    """

    def __init__(
        self,
        scope: Scope,
        grouping: Grouping | None = None,
        overs: Overs | None = None,
        arrays: Arrays | None = None,
        variables: Mapping[str, e.LambdaVariable] | None = None,
    ) -> None:
        """`variables` are the parameters of the lambdas around, by their names in lower case."""
        self._scope = scope
        self._grouping = grouping
        self._overs = overs
        self._arrays = arrays
        self._variables = variables or {}
        self._plain = ExpressionBinder(scope) if grouping is not None else self
        self._extents = Extents()

    def bind(self, node: s.Expression) -> e.Expr:
        """The bound expression; SqlError at the place of whatever does not fit, or is too large."""
        bound = self._bind(node)
        self._extents.check(bound, node.span)
        return bound

    def _bind(self, node: s.Expression) -> e.Expr:
        if isinstance(node, s.Name) and (variable := self._variable(node)) is not None:
            return variable
        if self._grouping is not None:
            above = self._bind_above(node, self._grouping)
            if above is not None:
                return above
        match node:
            case s.Name():
                return self._bind_name(node)
            case s.Star():
                raise sql_error("* is not an expression", node.span)
            case s.NumberLiteral():
                return number(node)
            case s.StringLiteral():
                return e.Literal(node.value, t.VARCHAR)
            case s.BooleanLiteral():
                return e.Literal(node.value, t.BOOLEAN)
            case s.NullLiteral():
                return e.Literal(None, t.NULL)
            case s.IntervalLiteral():
                return e.Literal(node.milliseconds, t.INTERVAL)
            case s.MonthsLiteral():
                return e.Literal(node.months, t.MONTHS)
            case s.Unary(operator="NOT"):
                return e.Not(self.bind_predicate(node.operand))
            case s.Unary():
                return self._bind_negation(node)
            case s.Binary(operator="AND" | "OR"):
                return e.Logical(node.operator, self.bind_predicate(node.left), self.bind_predicate(node.right))
            case s.Binary() if node.operator in _COMPARISONS:
                return self._compare(node.operator, self.bind(node.left), self.bind(node.right), node.span)
            case s.Binary():
                return arithmetic(node.operator, self.bind(node.left), self.bind(node.right), node.span)
            case s.IsNull():
                return e.IsNull(self.bind(node.operand))
            case s.IsTruth():
                return e.IsTruth(self.bind_predicate(node.operand), node.value)
            case s.IsDistinct():
                left, right = together((self.bind(node.left), self.bind(node.right)), node.span, "compare")
                return e.IsDistinct(left, right)
            case s.Between():
                return self._bind_between(node)
            case s.InList():
                return self._bind_in(node)
            case s.Like():
                return self._bind_like(node)
            case s.Case():
                return self._bind_case(node)
            case s.Cast():
                return cast(self.bind(node.operand), node.type, node.span, on_error_null=node.on_error_null)
            case s.FunctionCall():
                return self._bind_call(node)
            case s.FieldAccess():
                return nesting.field(self.bind(node.operand), node.field, node.span)
            case s.ElementAccess(operator="[]"):
                return nesting.element(self.bind(node.operand), self.bind(node.index), node.span)
            case s.ElementAccess():
                operands = self.bind(node.operand), self.bind(node.index)
                return nesting.json_access(node.operator, *operands, node.span)
            case s.Lambda() | s.Assignment():
                what = "=>" if isinstance(node, s.Lambda) else ":="
                raise sql_error(f"`{what}` cannot stand here", node.span)
            case s.WindowClause():
                raise sql_error("a window belongs in GROUP BY", node.span)
            case s.OverCall():
                return self._bind_over(node)

    def bind_predicate(self, node: s.Expression) -> e.Expr:
        """A BOOLEAN expression."""
        bound = self.bind(node)
        if bound.type.kind not in (t.Kind.BOOLEAN, t.Kind.NULL):
            raise sql_error(f"expected a condition, found {bound.type}", node.span)
        return coerce(bound, t.BOOLEAN, node.span)

    def _bind_above(self, node: s.Expression, grouping: Grouping) -> e.Expr | None:
        """A key, window column or aggregate call, where the node is one; None to bind it by its parts."""
        match node:
            case s.Name() if grouping.window_columns and names_window(node, self._scope):
                return grouping.window_column(WINDOW_NAMES[node.column.text.lower()])
            case s.FunctionCall() if node.name in WINDOW_CALLS and grouping.window_columns:
                return grouping.window_column(WINDOW_CALLS[node.name])
            case s.FunctionCall() if is_aggregate(node, self._scope.functions):
                return grouping.call(self._plain.bind_aggregate(node))
        has_variable = any(isinstance(part, s.Name) and self._variable(part) is not None for part in walk(node))
        has_aggregate = any(is_aggregate(part, self._scope.functions) for part in walk(node))
        if not has_variable and not has_aggregate and not isinstance(node, s.Star):
            uses_window = grouping.window_columns and any(
                isinstance(part, s.Name) and names_window(part, self._scope) for part in walk(node)
            )
            if not uses_window:
                key = grouping.key_of(self._plain.bind(node))
                if key is not None:
                    return key
        if isinstance(node, s.Name):
            raise sql_error(
                f"column `{node.column.text}` must be in GROUP BY or inside an aggregate function", node.span
            )
        return None

    def bind_aggregate(self, node: s.FunctionCall) -> e.AggregateCall:
        """An aggregate call, its operands bound over the rows of the group."""
        return bind_aggregate(node, self, self._scope.functions)

    def _variable(self, name: s.Name) -> e.LambdaVariable | None:
        """The parameter of a lambda that a name means."""
        if name.qualifier is not None or name.column.quoted:
            return None
        return self._variables.get(name.column.text.lower())

    def _within(self, node: s.Expression, variables: Mapping[str, e.LambdaVariable]) -> e.Expr:
        """An expression in which parameters of a lambda have a meaning too."""
        if not variables:
            return self.bind(node)
        known = {**self._variables, **variables}
        return ExpressionBinder(self._scope, self._grouping, self._overs, variables=known).bind(node)

    def _bind_name(self, node: s.Name) -> e.Expr:
        if node.qualifier is None and node.column.text.lower() in WINDOW_NAMES:
            known = any(node.column.matches(column.name) for column in self._scope.columns)
            if not known:
                raise sql_error(f"`{node.column.text}` needs a window in this query", node.span)
        if node.qualifier is not None and not self._scope.is_relation(node):
            column = s.Name(node.qualifier, None, node.qualifier.span)
            if self._scope.has_struct(column):
                return nesting.field(self.bind(column), node.column, node.span)
        return self._scope.resolve(node)

    def _bind_negation(self, node: s.Unary) -> e.Expr:
        if isinstance(node.operand, s.NumberLiteral):
            return number(s.NumberLiteral(f"-{node.operand.text}", node.span))
        operand = self.bind(node.operand)
        if operand.type.kind in (t.Kind.INTERVAL, t.Kind.MONTHS):
            return arithmetic("-", e.Literal(0, operand.type), operand, node.span)
        if not operand.type.is_numeric:
            raise sql_error(f"cannot negate {operand.type}", node.span)
        zeros: dict[t.Kind, e.LiteralValue] = {t.Kind.DOUBLE: -0.0, t.Kind.DECIMAL: Decimal(0)}
        zero = zeros.get(operand.type.kind, 0)
        return e.Arithmetic("-", e.Literal(zero, operand.type), operand, operand.type)

    def _compare(self, operator: str, left: e.Expr, right: e.Expr, span: Span) -> e.Expr:
        left, right = together((left, right), span, "compare")
        if operator not in ("=", "<>") and (left.type.kind is t.Kind.BOOLEAN or not left.type.is_ordered):
            raise sql_error(f"`{operator}` does not compare {left.type}", span)
        return e.Comparison(operator, left, right)

    def _bind_between(self, node: s.Between) -> e.Expr:
        low, high = self.bind(node.low), self.bind(node.high)

        def both(operand: e.Expr) -> e.Expr:
            begins = self._compare(">=", operand, low, node.span)
            return e.Logical("AND", begins, self._compare("<=", operand, high, node.span))

        return e.computed_once(self.bind(node.operand), both)

    def _bind_in(self, node: s.InList) -> e.Expr:
        operand = self.bind(node.operand)
        items = [self.bind(item) for item in node.items]
        bound = together((operand, *items), node.span, "compare")
        literals = [item for item in bound[1:] if isinstance(item, e.Literal)]
        if len(literals) < len(items):

            def any_of(operand: e.Expr) -> e.Expr:
                parts: list[e.Expr] = [e.Comparison("=", operand, item) for item in bound[1:]]
                return s.in_halves(parts, lambda left, right: e.Logical("OR", left, right))

            return e.computed_once(bound[0], any_of)
        known = tuple(dict.fromkeys(item.value for item in literals if item.value is not None))
        return e.InValues(bound[0], known, any(item.value is None for item in literals))

    def _bind_like(self, node: s.Like) -> e.Expr:
        operand, pattern = self.bind(node.operand), self.bind(node.pattern)
        escape = self._bind_escape(node.escape) if node.escape is not None else None
        for bound, part in ((operand, node.operand), (pattern, node.pattern)):
            if bound.type.kind not in (t.Kind.VARCHAR, t.Kind.NULL):
                raise sql_error(f"{node.match} takes VARCHAR, found {bound.type}", part.span)
        if t.Kind.NULL in (operand.type.kind, pattern.type.kind):
            return e.Literal(None, t.BOOLEAN)
        signature = patterns.match_signature(node.match, escape)
        check_prepared(signature, (operand, pattern), (node.operand, node.pattern))
        if node.match in (Match.LIKE, Match.ILIKE) and isinstance(pattern, e.Literal):
            assert isinstance(pattern.value, str)
            return e.Like(operand, pattern.value, escape, node.match is Match.LIKE)
        name = node.match if escape is None else f"{node.match} ESCAPE '{escape}'"
        return e.Call(name, signature, (operand, pattern), t.BOOLEAN)

    def _bind_escape(self, node: s.Expression) -> str:
        escape = self.bind(node)
        if not isinstance(escape, e.Literal) or not isinstance(escape.value, str) or len(escape.value) != 1:
            raise sql_error("ESCAPE takes one character", node.span)
        return escape.value

    def _bind_case(self, node: s.Case) -> e.Expr:
        if node.subject is not None:
            return e.computed_once(self.bind(node.subject), lambda subject: self._bind_branches(node, subject))
        return self._bind_branches(node, None)

    def _bind_branches(self, node: s.Case, subject: e.Expr | None) -> e.Expr:
        conditions: list[e.Expr] = []
        for when, _ in node.branches:
            if subject is None:
                conditions.append(self.bind_predicate(when))
            else:
                conditions.append(self._compare("=", subject, self.bind(when), when.span))
        results = [self.bind(then) for _, then in node.branches]
        default = self.bind(node.default) if node.default is not None else e.Literal(None, t.NULL)
        *bound, otherwise = together((*results, default), node.span, "mix")
        return e.Case(tuple(zip(conditions, bound, strict=True)), otherwise, type_of((*bound, otherwise)))

    def _bind_over(self, node: s.OverCall) -> e.Expr:
        if self._overs is None:
            raise sql_error(
                "OVER cannot stand here", node.span, "name its result in a query, and use the name in a query around it"
            )
        return self._overs.call(node)

    def _bind_call(self, node: s.FunctionCall) -> e.Expr:
        if is_aggregate(node, self._scope.functions):
            raise sql_error(f"the aggregate function {node.name} cannot stand here", node.span)
        if node.name in WINDOW_CALLS:
            raise sql_error(f"{node.name} needs a window in this query", node.span)
        check_plain(node)
        if node.name in ("ARRAY", "MAP", "STRUCT", "ROW"):
            return self._bind_constructor(node)
        if node.name in ("EXPLODE", "UNNEST"):
            return self._bind_explode(node)
        if node.name in headers.BY_NAME:
            return self._bind_header(node, [self.bind(argument) for argument in node.arguments])
        if node.name in lambdas.FORMS:
            return lambdas.call(node, self._within)
        if node.name in time_calls.NAMES:
            return time_calls.rewritten(node, [self.bind(argument) for argument in node.arguments])
        function = self._scope.functions.scalars.get(node.name)
        if function is None and node.name not in scalars.REWRITTEN:
            known = (*self._scope.functions.names(), *lambdas.FORMS, *time_calls.NAMES, *headers.BY_NAME)
            near = near_name(node.name, known)
            hint = f"did you mean `{near}`?" if near else None
            if node.name in _PLAIN_TYPES:
                hint = f"{node.name} is a type: CAST(… AS {node.name}) makes one"
            raise sql_error(f"function {node.name} does not exist, or is not supported yet", node.span, hint)
        operands = [self.bind(argument) for argument in node.arguments]
        if function is None:
            return rewritten(node, operands)
        return call(function, operands, node)

    def _bind_explode(self, node: s.FunctionCall) -> e.Expr:
        if self._arrays is None:
            raise sql_error(
                f"{node.name} cannot stand here",
                node.span,
                "put it among the columns of a query in FROM",
            )
        if len(node.arguments) != 1:
            raise sql_error(f"{node.name} takes one array", node.span)
        return self._arrays.column(self.bind(node.arguments[0]), node)

    def _bind_constructor(self, node: s.FunctionCall) -> e.Expr:
        """ARRAY, MAP, STRUCT or ROW of values."""
        arguments = node.arguments
        assigned = [argument for argument in arguments if isinstance(argument, s.Assignment)]
        if assigned and (node.name == "ARRAY" or len(assigned) < len(arguments)):
            raise sql_error("`:=` cannot stand here", assigned[0].span)
        match node.name:
            case "ARRAY":
                return nesting.array([self.bind(argument) for argument in arguments], node.span)
            case "MAP":
                flat = [part for a in assigned for part in (a.target, a.value)] if assigned else arguments
                return nesting.map_of([self.bind(part) for part in flat], node.span)
        fields: list[tuple[str, e.Expr]] = []
        for index, argument in enumerate(arguments):
            if not isinstance(argument, s.Assignment):
                fields.append((f"f{index}", self.bind(argument)))  # as Flink names the fields of a ROW
            elif isinstance(argument.target, s.Name):
                fields.append((argument.target.column.text, self.bind(argument.value)))
            else:
                raise sql_error("a field of a STRUCT has a name", argument.target.span, "STRUCT(name := value)")
        return nesting.struct(fields, node.span)

    def _bind_header(self, node: s.FunctionCall, operands: list[e.Expr]) -> e.Expr:
        """HEADER of the record that a row of a source is in."""
        column = self._scope.pseudo_column(s.Identifier(HEADERS_COLUMN, False, node.span))
        if column is None:
            raise sql_error(
                f"{node.name} needs the records of a source", node.span, "give it a name in the query that reads them"
            )
        if self._grouping is not None:
            raise sql_error(f"{node.name} must be in GROUP BY or inside an aggregate function", node.span)
        if node.name == "HEADERS" and operands:
            raise sql_error("HEADERS takes no operand", node.span, "HEADER takes the name of a header")
        is_name = len(operands) == 1 and operands[0].type.kind in (t.Kind.VARCHAR, t.Kind.NULL)
        if node.name == "HEADER" and not is_name:
            raise sql_error("HEADER takes the name of a header", node.span)
        return call(headers.BY_NAME[node.name], [column, *operands], node)

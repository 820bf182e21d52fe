"""From sqlglot's expressions to Headrace's: a function for each kind of node, and the kinds that are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from sqlglot import exp

from headrace.sql import intervals, syntax
from headrace.sql.errors import Span, did_you_mean, sql_error
from headrace.sql.interval_literals import interval, multiple
from headrace.sql.tree.declared_types import convert_type
from headrace.sql.tree.nodes import OVER_ARG, held, identifier, is_holder, refuse, span_of
from headrace.sql.vocabulary import Match

_BINARY: dict[type[exp.Expr], str] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.DPipe: "||",
}
_REFUSED: dict[type[exp.Expr], str] = {
    exp.Subquery: "a subquery",
    exp.Select: "a subquery",
    exp.Exists: "EXISTS",
    exp.Slice: "a part of an array with [:]",
    exp.Struct: "{ }",
    exp.PropertyEQ: "`:=` here",
    exp.Any: "ANY",
    exp.All: "ALL",
    exp.BitwiseAnd: "&",
    exp.BitwiseOr: "|",
    exp.BitwiseXor: "^",
    exp.IgnoreNulls: "IGNORE NULLS",
    exp.RespectNulls: "RESPECT NULLS",
    exp.Collate: "COLLATE",
    exp.Placeholder: "a parameter",
    exp.Parameter: "a parameter",
}


def convert_expression(node: exp.Expr | None, around: Span) -> syntax.Expression:
    """A sqlglot expression as Headrace syntax; SqlError for what is not supported."""
    if node is None:
        raise sql_error("expected an expression", around)
    if is_holder(node):
        expression: syntax.Expression = held(node)
        return expression
    span = span_of(node, around)
    if isinstance(node, (exp.And, exp.Or)):
        return _logical(node, span)
    operator = _BINARY.get(type(node))
    if operator is not None:
        left = convert_expression(node.args["this"], span)
        return syntax.Binary(operator, left, convert_expression(node.args["expression"], span), span)
    convert = _CONVERTERS.get(type(node))
    if convert is not None:
        return convert(node, span)
    what = _REFUSED.get(type(node))
    if what is None and isinstance(node, exp.Func):
        what = node.sql_name()
    return refuse(what or type(node).__name__.upper(), span)


def _logical(node: exp.And | exp.Or, span: Span) -> syntax.Expression:
    """A chain of ANDs or ORs, in halves: so it is no deeper for being long, and read from left to right as before."""
    parts: list[syntax.Expression] = []
    waiting: list[exp.Expr] = [node]
    while waiting:
        part = waiting.pop()
        if type(part) is type(node):
            waiting += [part.args["expression"], part.args["this"]]
        else:
            parts.append(convert_expression(part, span))
    operator = "AND" if isinstance(node, exp.And) else "OR"
    return syntax.in_halves(parts, lambda left, right: _binary(operator, left, right))


def _binary(operator: str, left: syntax.Expression, right: syntax.Expression) -> syntax.Expression:
    return syntax.Binary(operator, left, right, Span(left.span.start, right.span.end))


def _column(node: exp.Expr, span: Span) -> syntax.Expression:
    parts = [node.args[name] for name in ("catalog", "db", "table") if node.args.get(name) is not None]
    if len(parts) > 1 and not isinstance(node.this, exp.Star):
        first, second, *rest = (identifier(part, span) for part in (*parts, node.this))
        found: syntax.Expression = syntax.Name(second, first, span)
        for part in rest:
            found = syntax.FieldAccess(found, part, span)
        return found
    if len(parts) > 1:
        return refuse("* behind a name of more than one part", span)
    table = node.args.get("table")
    qualifier = identifier(table, span) if table is not None else None
    if isinstance(node.this, exp.Star):
        return _star(node.this, qualifier, span)
    return syntax.Name(identifier(node.this, span), qualifier, span)


def _star(node: exp.Expr, qualifier: syntax.Identifier | None, span: Span) -> syntax.Expression:
    if node.args.get("ilike"):
        return refuse("* ILIKE", span)
    without = tuple(_star_name(part, "EXCEPT", span) for part in node.args.get("except_") or ())
    replaced = tuple(
        (_star_alias(part, "REPLACE", span), convert_expression(part.this, span))
        for part in node.args.get("replace") or ()
    )
    renamed = tuple(
        (_star_name(part.this, "RENAME", span), _star_alias(part, "RENAME", span))
        for part in node.args.get("rename") or ()
    )
    return syntax.Star(qualifier, without, replaced, renamed, span)


def _star_name(node: exp.Expr, clause: str, around: Span) -> syntax.Identifier:
    span = span_of(node, around)
    if isinstance(node, exp.Column) and not node.args.get("table") and isinstance(node.this, exp.Identifier):
        return identifier(node.this, span)
    raise sql_error(f"* {clause} takes the names of columns", span, f"for example * {_STAR_EXAMPLES[clause]}")


def _star_alias(node: exp.Expr, clause: str, around: Span) -> syntax.Identifier:
    span = span_of(node, around)
    if isinstance(node, exp.Alias):
        return identifier(node.args["alias"], span)
    raise sql_error(f"* {clause} needs AS and a name", span, f"for example * {_STAR_EXAMPLES[clause]}")


_STAR_EXAMPLES = {
    "EXCEPT": "EXCEPT (price)",
    "REPLACE": "REPLACE (price * 2 AS price)",
    "RENAME": "RENAME (price AS amount)",
}


def _literal(node: exp.Expr, span: Span) -> syntax.Expression:
    if node.args.get("is_string"):
        return syntax.StringLiteral(node.name, span)
    return syntax.NumberLiteral(node.name, span)


def _negated(node: exp.Expr, span: Span) -> syntax.Expression:
    return syntax.Unary("-", convert_expression(node.this, span), span)


def _not(node: exp.Expr, span: Span) -> syntax.Expression:
    return syntax.Unary("NOT", convert_expression(node.this, span), span)


def _is(node: exp.Expr, span: Span) -> syntax.Expression:
    operand = convert_expression(node.this, span)
    right = node.args["expression"]
    if isinstance(right, exp.Null):
        return syntax.IsNull(operand, span)
    if isinstance(right, exp.Boolean):
        return syntax.IsTruth(operand, bool(right.this), span)
    raise sql_error(
        "IS takes NULL, TRUE, FALSE or DISTINCT FROM", span_of(right, span), "`=` compares with any other value"
    )


def _is_distinct(node: exp.Expr, span: Span) -> syntax.Expression:
    left = convert_expression(node.this, span)
    distinct = syntax.IsDistinct(left, convert_expression(node.args["expression"], span), span)
    return syntax.Unary("NOT", distinct, span) if isinstance(node, exp.NullSafeEQ) else distinct


def _between(node: exp.Expr, span: Span) -> syntax.Expression:
    low, high = (convert_expression(node.args[name], span) for name in ("low", "high"))
    operand = convert_expression(node.this, span)
    between = syntax.Between(operand, low, high, span)
    if not node.args.get("symmetric"):
        return between
    return syntax.Binary("OR", between, syntax.Between(operand, high, low, span), span)


def _in(node: exp.Expr, span: Span) -> syntax.Expression:
    for argument in ("query", "unnest", "field"):
        if node.args.get(argument):
            return refuse("IN with a subquery", span)
    if not node.expressions:
        raise sql_error("IN needs a value", span)
    items = tuple(convert_expression(item, span) for item in node.expressions)
    return syntax.InList(convert_expression(node.this, span), items, span)


_MATCHES: dict[type[exp.Expr], Match] = {
    exp.Like: Match.LIKE,
    exp.ILike: Match.ILIKE,
    exp.SimilarTo: Match.SIMILAR,
    exp.RegexpLike: Match.REGULAR,
    exp.RegexpILike: Match.REGULAR_ANY_CASE,
}


def _like(node: exp.Expr, span: Span) -> syntax.Expression:
    escape: syntax.Expression | None = None
    if isinstance(node, exp.Escape):
        escape = convert_expression(node.args["expression"], span)
        node = node.this
        if type(node) not in (exp.Like, exp.ILike, exp.SimilarTo):
            return refuse("ESCAPE here", span)
    pattern = convert_expression(node.args["expression"], span)
    operand = convert_expression(node.this, span)
    like = syntax.Like(operand, pattern, escape, _MATCHES[type(node)], span)
    return syntax.Unary("NOT", like, span) if node.args.get("negate") else like


def _case(node: exp.Expr, span: Span) -> syntax.Expression:
    branches = tuple(
        (convert_expression(branch.this, span), convert_expression(branch.args["true"], span))
        for branch in node.args.get("ifs") or ()
    )
    subject, default = node.args.get("this"), node.args.get("default")
    return syntax.Case(
        convert_expression(subject, span) if subject is not None else None,
        branches,
        convert_expression(default, span) if default is not None else None,
        span,
    )


def _cast(node: exp.Expr, span: Span) -> syntax.Expression:
    for argument in ("format", "default", "action"):
        if node.args.get(argument):
            return refuse(f"CAST with {argument.upper()}", span)
    if _is_interval(node.args["to"]):
        return _cast_interval(node, span)
    type_, unsigned = convert_type(node.args["to"], span_of(node.args["to"], span))
    if unsigned:
        return refuse("CAST to an UNSIGNED type", span)
    return syntax.Cast(convert_expression(node.this, span), type_, isinstance(node, exp.TryCast), span)


def _is_interval(type_: exp.Expr) -> bool:
    return type_.this is exp.DType.INTERVAL or isinstance(type_.this, exp.Interval)


def _cast_interval(node: exp.Expr, span: Span) -> syntax.Expression:
    if not (isinstance(node.this, exp.Literal) and node.this.args.get("is_string")):
        raise sql_error("CAST to INTERVAL takes a constant text", span, "for example '90 minutes'::INTERVAL")
    return interval(node.this.name, (), span)


def _at_time_zone(node: exp.Expr, span: Span) -> syntax.Expression:
    operands = (convert_expression(node.this, span), convert_expression(node.args["zone"], span))
    return syntax.FunctionCall("AT_TIME_ZONE", operands, False, False, span)


def _call(node: exp.Expr, span: Span) -> syntax.Expression:
    name = node.this if isinstance(node.this, str) else node.name
    distinct = star = False
    arguments: list[syntax.Expression] = []
    given = list(node.expressions)
    order_by: tuple[syntax.OrderItem, ...] = ()
    if given and isinstance(given[-1], exp.Order):  # sqlglot has it around the last argument
        order = given.pop()
        order_by = tuple(convert_order(item, span) for item in order.expressions)
        if order.this is None:
            return refuse("ORDER BY before the operands", span)
        given.append(order.this)
    for argument in given:
        if isinstance(argument, exp.PropertyEQ):
            arguments.append(_assignment(argument, span))
        elif isinstance(argument, exp.Distinct):
            distinct = True
            if argument.args.get("on"):
                return refuse("DISTINCT ON", span)
            arguments.extend(convert_expression(part, span) for part in argument.expressions)
        elif isinstance(argument, exp.Star):
            star = True
        elif not arguments and name.upper() in _UNIT_CALLS and _is_word(argument):
            arguments.append(syntax.StringLiteral(argument.name, span_of(argument, span)))
        elif isinstance(argument, exp.Lambda) and name.upper() == "MAKE_INTERVAL":
            continue
        else:
            arguments.append(convert_expression(argument, span))
    if star and arguments:
        return refuse("* among arguments", span)
    if name.upper() == "MAKE_INTERVAL" and not distinct and not star:
        return _make_interval(node, arguments, span)
    return syntax.FunctionCall(name.upper(), tuple(arguments), distinct, star, span, order_by)


def _within_group(node: exp.Expr, span: Span) -> syntax.Expression:
    call = convert_expression(node.this, span)
    if not isinstance(call, syntax.FunctionCall):
        raise sql_error("WITHIN GROUP stands behind a function", span)
    if call.order_by:
        raise sql_error("ORDER BY stands within the call or WITHIN GROUP, once", span)
    order_by = tuple(convert_order(item, span) for item in node.args["expression"].expressions)
    return replace(call, order_by=order_by, within_group=True, span=span)


def _filter(node: exp.Expr, span: Span) -> syntax.Expression:
    call = convert_expression(node.this, span)
    if not isinstance(call, syntax.FunctionCall):
        raise sql_error("FILTER stands behind a function", span)
    return replace(call, filter=convert_expression(node.args["expression"], span), span=span)


def _assignment(node: exp.Expr, span: Span) -> syntax.Expression:
    target: syntax.Expression
    if isinstance(node.this, exp.Identifier):
        name = identifier(node.this, span)
        target = syntax.Name(name, None, name.span)
    else:
        target = convert_expression(node.this, span)
    return syntax.Assignment(target, convert_expression(node.args["expression"], span), span_of(node, span))


def _array(node: exp.Expr, span: Span) -> syntax.Expression:
    items = tuple(convert_expression(item, span) for item in node.expressions)
    return syntax.FunctionCall("ARRAY", items, False, False, span)


def _bracket(node: exp.Expr, span: Span) -> syntax.Expression:
    items = tuple(convert_expression(item, span) for item in node.expressions)
    is_map = isinstance(node.this, exp.Column) and node.this.name.upper() == "MAP" and not node.this.args.get("table")
    if is_map and len(items) != 1:
        return syntax.FunctionCall("MAP", items, False, False, span)
    if len(items) != 1:
        raise sql_error("[ ] takes one position or key", span)
    return syntax.ElementAccess(convert_expression(node.this, span), items[0], "[]", span)


def _dot(node: exp.Expr, span: Span) -> syntax.Expression:
    field = node.args["expression"]
    if not isinstance(field, exp.Identifier):
        return refuse("this behind a point", span)
    return syntax.FieldAccess(convert_expression(node.this, span), identifier(field, span), span)


def _arrow(node: exp.Expr, span: Span) -> syntax.Expression:
    operand, part = convert_expression(node.this, span), node.args["expression"]
    if isinstance(node, exp.JSONExtract) and isinstance(part, exp.Column) and isinstance(part.this, exp.Identifier):
        return syntax.FieldAccess(operand, identifier(part.this, span), span)
    operator = "->" if isinstance(node, exp.JSONExtract) else "->>"
    return syntax.ElementAccess(operand, convert_expression(part, span), operator, span)


def _lambda(node: exp.Expr, span: Span) -> syntax.Expression:
    parameters = tuple(identifier(name, span) for name in node.expressions)
    return syntax.Lambda(parameters, convert_expression(node.this, span), span)


_UNIT_CALLS = ("TIMESTAMPADD", "DATEADD", "TIMEADD", "TIMESTAMPSUB", "DATESUB", "TIMESUB", "TIMESTAMPDIFF", "DATEDIFF")
"""Functions whose first operand may be the bare word for a unit of time: TIMESTAMPADD(DAY, 1, t)."""
_INTERVAL_PARTS = {
    "years": "YEAR",
    "months": "MONTH",
    "weeks": "WEEK",
    "days": "DAY",
    "hours": "HOUR",
    "mins": "MINUTE",
    "secs": "SECOND",
}
"""The parameters of MAKE_INTERVAL, in their order."""


def _is_word(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and not node.args.get("table") and intervals.unit_of(node.name) is not None


def _make_interval(node: exp.Expr, positional: list[syntax.Expression], span: Span) -> syntax.Expression:
    """The sum that `MAKE_INTERVAL(days => 1, hours => n)` is; parts that are 0 do not count."""
    if len(positional) > len(_INTERVAL_PARTS):
        raise sql_error(f"MAKE_INTERVAL takes at most {len(_INTERVAL_PARTS)} operands", span)
    given = dict(zip(_INTERVAL_PARTS, positional, strict=False))
    for argument in node.expressions:
        if isinstance(argument, exp.Lambda):  # `days => 1`
            name = argument.expressions[0].name.lower()
            if name not in _INTERVAL_PARTS:
                hint = did_you_mean(name, _INTERVAL_PARTS)
                raise sql_error(f"MAKE_INTERVAL has no `{name}`", span_of(argument, span), hint)
            if name in given:
                raise sql_error(f"`{name}` is given twice", span_of(argument, span))
            given[name] = convert_expression(argument.this, span)
    total: syntax.Expression | None = None
    for name, amount in given.items():
        if isinstance(amount, syntax.NumberLiteral) and not Decimal(amount.text):
            continue
        part = multiple(amount, _INTERVAL_PARTS[name], span)
        total = part if total is None else syntax.Binary("+", total, part, span)
    return syntax.IntervalLiteral(0, span) if total is None else total


def _named_call(name: str, *parts: str) -> Callable[[exp.Expr, Span], syntax.Expression]:
    """A function that sqlglot parses for its special form, as the plain call it stands for."""

    def convert(node: exp.Expr, span: Span) -> syntax.Expression:
        extra = [key for key, value in node.args.items() if value and key not in parts]
        if extra:
            return refuse(f"{name} with {', '.join(extra).upper()}", span)
        given = [node.args[part] for part in parts if node.args.get(part) is not None]
        arguments = tuple(convert_expression(argument, span) for argument in given)
        return syntax.FunctionCall(name, arguments, False, False, span)

    return convert


_TRIMS = {"LEADING": "LTRIM", "TRAILING": "RTRIM"}


def _trim(node: exp.Expr, span: Span) -> syntax.Expression:
    if node.args.get("collation"):
        return refuse("TRIM with COLLATE", span)
    name = _TRIMS.get(str(node.args.get("position") or "").upper(), "TRIM")
    parts = [node.this, node.args.get("expression")]
    operands = tuple(convert_expression(part, span) for part in parts if part is not None)
    return syntax.FunctionCall(name, operands, False, False, span)


def _extract(node: exp.Expr, span: Span) -> syntax.Expression:
    unit = syntax.StringLiteral(node.this.name, span_of(node.this, span))
    operand = convert_expression(node.args["expression"], span)
    return syntax.FunctionCall("EXTRACT", (unit, operand), False, False, span)


def _over(node: exp.Expr, span: Span) -> syntax.Expression:
    over = node.args.get(OVER_ARG)
    if over is None:  # read by sqlglot, behind IGNORE NULLS: refused by its name
        return convert_expression(node.this, span)
    call = convert_expression(node.this, span)
    if not isinstance(call, syntax.FunctionCall):
        raise sql_error("OVER stands behind a function", span)
    clause: syntax.OverClause = held(over)
    return syntax.OverCall(call, clause, Span(call.span.start, max(call.span.end, clause.span.end)))


def convert_order(node: exp.Expr, around: Span) -> syntax.OrderItem:
    """One entry of ORDER BY."""
    span = span_of(node, around)
    assert isinstance(node, exp.Ordered), "what sqlglot reads behind ORDER BY"
    if node.args.get("with_fill"):
        raise sql_error("WITH FILL is not supported yet", span)
    expression = convert_expression(node.this, span)
    return syntax.OrderItem(expression, bool(node.args.get("desc")), bool(node.args.get("nulls_first")), span)


_CONVERTERS: dict[type[exp.Expr], Callable[[exp.Expr, Span], syntax.Expression]] = {
    exp.Column: _column,
    exp.Star: lambda node, span: _star(node, None, span),
    exp.Literal: _literal,
    exp.Boolean: lambda node, span: syntax.BooleanLiteral(bool(node.this), span),
    exp.Null: lambda _, span: syntax.NullLiteral(span),
    exp.Paren: lambda node, span: convert_expression(node.this, span),
    exp.Neg: _negated,
    exp.Not: _not,
    exp.Is: _is,
    exp.NullSafeEQ: _is_distinct,
    exp.NullSafeNEQ: _is_distinct,
    exp.Between: _between,
    exp.In: _in,
    exp.Like: _like,
    exp.ILike: _like,
    exp.Escape: _like,
    exp.SimilarTo: _like,
    exp.RegexpLike: _like,
    exp.RegexpILike: _like,
    exp.Case: _case,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.AtTimeZone: _at_time_zone,
    exp.Anonymous: _call,
    exp.Substring: _named_call("SUBSTRING", "this", "start", "length"),
    exp.StrPosition: _named_call("POSITION", "substr", "this", "position"),
    exp.Overlay: _named_call("OVERLAY", "this", "expression", "from_", "for_"),
    exp.Trim: _trim,
    exp.Extract: _extract,
    exp.Filter: _filter,
    exp.WithinGroup: _within_group,
    exp.Window: _over,
    exp.Array: _array,
    exp.Bracket: _bracket,
    exp.Dot: _dot,
    exp.JSONExtract: _arrow,
    exp.JSONExtractScalar: _arrow,
    exp.Lambda: _lambda,
}

"""From sqlglot's tree to Headrace's syntax: the only code that knows how sqlglot arranges its nodes.

Every argument of every node is consumed or refused; nothing that a user wrote is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any, NoReturn

from sqlglot import exp

from headrace.sql import intervals, syntax, types
from headrace.sql.errors import Problem, Span, SqlError, did_you_mean, sql_error

EMIT_ARG = "headrace_emit"
GROUPING_WINDOW_ARG = "headrace_window"
NAMED_WINDOWS_ARG = "headrace_named_windows"
OVER_ARG = "headrace_over"
PARTITION_BY_ARG = "headrace_partition_by"
_HELD = "held"
_SPAN = "headrace_span"


def holder(value: object) -> exp.Expr:
    """A sqlglot node that carries something of ours through sqlglot's tree."""
    node = exp.Var(this="headrace")
    node.meta[_HELD] = value
    return node


def held(node: exp.Expr) -> Any:
    return node.meta[_HELD]


def span_of(node: exp.Expr, otherwise: Span) -> Span:
    """The place of a node: from its first to its last token that has one."""
    if _SPAN not in node.meta:
        for part in reversed(list(node.walk())):  # parts before what is made of them, each of them once
            meta = part.meta
            spans = [found for child in part.iter_expressions() if (found := child.meta[_SPAN]) is not None]
            if "start" in meta and "end" in meta:
                spans.append(Span(meta["start"], meta["end"] + 1))
            found = Span(min(span.start for span in spans), max(span.end for span in spans)) if spans else None
            meta[_SPAN] = found
    placed: Span | None = node.meta[_SPAN]
    return otherwise if placed is None else placed


def duration_ms(text: str, unit: str, span: Span) -> int:
    """Milliseconds of an amount and a unit (`5`, `MINUTES`); SqlError where it is none, or has no fixed length."""
    months, milliseconds = _amount(text, unit, span)
    return milliseconds if not months else _refuse_months(span)


def _refuse_months(span: Span) -> NoReturn:
    raise sql_error("months and years have no fixed length: this takes days and smaller units", span)


def _amount(text: str, word: str, span: Span, known: Iterable[str] = intervals.UNITS_MS) -> tuple[int, int]:
    """Months and milliseconds of an amount and the word for its unit."""
    if not word.strip():
        raise sql_error(f"`{text}` needs a unit of time", span, f"known: {', '.join(known)}")
    unit = intervals.unit_of(word)
    if unit is None:
        raise sql_error(f"`{word.strip()}` is not a unit of time", span, did_you_mean(word.strip(), known))
    try:
        return intervals.amount_of(text, unit)
    except ValueError as error:
        raise sql_error(str(error), span) from None


def duration(text: str, units: tuple[str, ...], span: Span) -> int:
    """Milliseconds of an INTERVAL without months."""
    literal = interval(text, units, span, intervals.UNITS_MS)
    return literal.milliseconds if isinstance(literal, syntax.IntervalLiteral) else _refuse_months(span)


def interval(
    text: str, units: tuple[str, ...], span: Span, known: Iterable[str] = intervals.UNITS
) -> syntax.IntervalLiteral | syntax.MonthsLiteral:
    """`INTERVAL 'text' unit`, `INTERVAL 'text' unit TO unit`, or a text that names its units itself."""
    try:
        if len(units) == 2:
            months, milliseconds = intervals.parse_span(text, *units)
        elif units and re.search(r"\d\s*[A-Za-z]", text):
            raise sql_error(f"`{text}` names its unit itself", span, "leave the one behind it out")
        elif units:
            months, milliseconds = _amount(text, units[0], span, known)
        elif re.search("[A-Za-z:]", text):
            months, milliseconds = intervals.parse(text)
        else:
            months, milliseconds = _amount(text, "", span, known)
    except ValueError as error:
        raise sql_error(str(error), span) from None
    if months and milliseconds:
        raise sql_error(
            "an interval is of years and months, or of days and smaller units", span, "add one after the other"
        )
    return syntax.MonthsLiteral(months, span) if months else syntax.IntervalLiteral(milliseconds, span)


def watermark_delay_ms(expression: syntax.Expression, column: syntax.Identifier) -> int:
    """The delay of `WATERMARK FOR c AS c - INTERVAL …`."""
    match expression:
        case syntax.Name(column=name, qualifier=None) if column.matches(name.text):
            return 0
        case syntax.Binary(
            operator="-", left=syntax.Name(column=name), right=syntax.IntervalLiteral(milliseconds=delay)
        ) if column.matches(name.text) and delay >= 0:
            return delay
        case syntax.Binary(operator="-", right=syntax.MonthsLiteral(span=span)):
            _refuse_months(span)
    raise sql_error(
        "a watermark is its column, less a delay",
        expression.span,
        f"for example WATERMARK FOR {column.text} AS {column.text} - INTERVAL '5' SECOND",
    )


_TYPES: dict[exp.DType, types.Type] = {
    exp.DType.BOOLEAN: types.BOOLEAN,
    exp.DType.INT: types.INT,
    exp.DType.BIGINT: types.BIGINT,
    exp.DType.UINT: types.INT,
    exp.DType.UBIGINT: types.BIGINT,
    exp.DType.DOUBLE: types.DOUBLE,
    exp.DType.FLOAT: types.DOUBLE,
    exp.DType.VARCHAR: types.VARCHAR,
    exp.DType.TEXT: types.VARCHAR,
    exp.DType.TIMESTAMP: types.TIMESTAMP,
    exp.DType.DATE: types.DATE,
    exp.DType.VARBINARY: types.BYTES,
    exp.DType.JSON: types.JSON,
    exp.DType.JSONB: types.JSON,
    exp.DType.TIME: types.TIME,
    exp.DType.TIMESTAMPTZ: types.TIMESTAMP_LTZ,
    exp.DType.TIMESTAMPLTZ: types.TIMESTAMP_LTZ,
}
_WITH_PRECISION = (exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ, exp.DType.TIMESTAMPLTZ, exp.DType.TIME)
MAX_TIME_PRECISION = 9


TYPE_NAMES = (
    *("BOOLEAN", "INT", "BIGINT", "DOUBLE", "DECIMAL", "VARCHAR", "BYTES", "TIMESTAMP", "TIMESTAMP_LTZ", "DATE"),
    *("TIME", "ARRAY", "MAP", "STRUCT", "JSON"),
)


def convert_type(node: exp.DataType, span: Span) -> tuple[types.Type, bool]:
    """A declared type, and whether it is UNSIGNED."""
    kind = node.this
    if kind in (exp.DType.ARRAY, exp.DType.LIST, exp.DType.MAP, exp.DType.STRUCT):
        return _nested_type(node, span), False
    parameters = [p.this.name for p in node.expressions if isinstance(p, exp.DataTypeParam)]
    if not all(text.isascii() and text.isdigit() for text in parameters):
        raise sql_error("a type takes whole numbers as parameters", span)
    arguments = [int(text) for text in parameters]
    if kind is exp.DType.DECIMAL:
        precision, scale = [*arguments, 0][:2] if arguments else (types.MAX_PRECISION, 9)
        if not 1 <= precision <= types.MAX_PRECISION or not 0 <= scale <= precision:
            raise sql_error(f"DECIMAL takes a precision of 1 to {types.MAX_PRECISION} and a scale within it", span)
        return types.Type(types.Kind.DECIMAL, precision, scale), False
    if kind not in _TYPES:
        name = kind.value if isinstance(kind, exp.DType) else str(kind)
        if kind is exp.DType.USERDEFINED:
            name = str(node.args.get("kind") or name)
        raise sql_error(f"type {name} is not supported yet", span, did_you_mean(name, TYPE_NAMES))
    if arguments and kind in _WITH_PRECISION:  # all of them hold milliseconds
        if len(arguments) > 1 or arguments[0] > MAX_TIME_PRECISION:
            raise sql_error(f"{_TYPES[kind]} takes a precision of 0 to {MAX_TIME_PRECISION}", span)
    elif arguments:
        raise sql_error(f"{_TYPES[kind]} with a length or precision is not supported yet", span, "leave it out")
    return _TYPES[kind], kind in (exp.DType.UINT, exp.DType.UBIGINT)


def _nested_type(node: exp.DataType, span: Span) -> types.Type:
    parts = [part for part in node.expressions if isinstance(part, exp.DataType)]
    if node.this is exp.DType.STRUCT:
        fields: list[tuple[str, types.Type]] = []
        for part in node.expressions:
            if not isinstance(part, exp.ColumnDef) or not isinstance(part.kind, exp.DataType):
                raise sql_error("a STRUCT has fields with a name and a type", span, "for example STRUCT<a INT, b DATE>")
            if any(part.name.lower() == name.lower() for name, _ in fields):
                raise sql_error(f"two fields are named `{part.name}`", span)
            fields.append((checked_name(part.name, span), _inner_type(part.kind, span)))
        if not fields:
            raise sql_error("a STRUCT has fields with a name and a type", span, "for example STRUCT<a INT, b DATE>")
        return types.struct_type(*fields)
    if node.this is exp.DType.MAP:
        if len(parts) != 2:
            raise sql_error("a MAP has the types of its keys and values", span, "for example MAP<VARCHAR, INT>")
        key, value = (_inner_type(part, span) for part in parts)
        if key != types.VARCHAR:
            raise sql_error(f"keys of a MAP are VARCHAR, found {key}", span)
        return types.map_type(value)
    if len(parts) != 1:
        raise sql_error("an ARRAY has the type of its elements", span, "for example ARRAY<INT>")
    return types.array_type(_inner_type(parts[0], span))


def _inner_type(node: exp.DataType, span: Span) -> types.Type:
    type_, unsigned = convert_type(node, span)
    if unsigned:
        raise sql_error("UNSIGNED is for columns alone", span)
    return type_


# Expressions

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


def refuse(what: str, span: Span) -> syntax.Expression:
    raise sql_error(f"{what} is not supported yet", span)


def convert_expression(node: exp.Expr | None, around: Span) -> syntax.Expression:
    """A sqlglot expression as Headrace syntax; SqlError for what is not supported."""
    if node is None:
        raise sql_error("expected an expression", around)
    if _HELD in node.meta:
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


def checked_name(text: str, span: Span) -> str:
    """A name that JSON can have without escapes; SqlError for another."""
    if any(character in '"\\' or character < " " for character in text):
        raise sql_error("a name cannot hold quotes, backslashes or control characters", span)
    return text


def _identifier(node: exp.Expr, around: Span) -> syntax.Identifier:
    span = span_of(node, around)
    return syntax.Identifier(checked_name(node.name, span), bool(node.args.get("quoted")), span)


def _column(node: exp.Expr, span: Span) -> syntax.Expression:
    parts = [node.args[name] for name in ("catalog", "db", "table") if node.args.get(name) is not None]
    if len(parts) > 1 and not isinstance(node.this, exp.Star):
        first, second, *rest = (_identifier(part, span) for part in (*parts, node.this))
        found: syntax.Expression = syntax.Name(second, first, span)
        for part in rest:
            found = syntax.FieldAccess(found, part, span)
        return found
    if len(parts) > 1:
        return refuse("* behind a name of more than one part", span)
    table = node.args.get("table")
    qualifier = _identifier(table, span) if table is not None else None
    if isinstance(node.this, exp.Star):
        return _star(node.this, qualifier, span)
    return syntax.Name(_identifier(node.this, span), qualifier, span)


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
        return _identifier(node.this, span)
    raise sql_error(f"* {clause} takes the names of columns", span, f"for example * {_STAR_EXAMPLES[clause]}")


def _star_alias(node: exp.Expr, clause: str, around: Span) -> syntax.Identifier:
    span = span_of(node, around)
    if isinstance(node, exp.Alias):
        return _identifier(node.args["alias"], span)
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


_MATCHES: dict[type[exp.Expr], syntax.Match] = {
    exp.Like: syntax.Match.LIKE,
    exp.ILike: syntax.Match.ILIKE,
    exp.SimilarTo: syntax.Match.SIMILAR,
    exp.RegexpLike: syntax.Match.REGULAR,
    exp.RegexpILike: syntax.Match.REGULAR_ANY_CASE,
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
        name = _identifier(node.this, span)
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
    return syntax.FieldAccess(convert_expression(node.this, span), _identifier(field, span), span)


def _arrow(node: exp.Expr, span: Span) -> syntax.Expression:
    operand, part = convert_expression(node.this, span), node.args["expression"]
    if isinstance(node, exp.JSONExtract) and isinstance(part, exp.Column) and isinstance(part.this, exp.Identifier):
        return syntax.FieldAccess(operand, _identifier(part.this, span), span)
    operator = "->" if isinstance(node, exp.JSONExtract) else "->>"
    return syntax.ElementAccess(operand, convert_expression(part, span), operator, span)


def _lambda(node: exp.Expr, span: Span) -> syntax.Expression:
    parameters = tuple(_identifier(name, span) for name in node.expressions)
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


def multiple(amount: syntax.Expression, unit: str, span: Span) -> syntax.Expression:
    """So many of a unit."""
    return syntax.Binary("*", interval("1", (unit,), span), amount, span)


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

# Queries

_CLAUSES = {
    *("expressions", "distinct", "from_", "joins", "where", "group", "having", "qualify"),
    *(GROUPING_WINDOW_ARG, NAMED_WINDOWS_ARG, PARTITION_BY_ARG, EMIT_ARG),
}
_CLAUSE_NAMES = {
    "laterals": "LATERAL",
    "order": "ORDER BY",
    "limit": "LIMIT",
    "offset": "OFFSET",
    "into": "SELECT INTO",
    "pivots": "PIVOT",
    "sample": "TABLESAMPLE",
    "locks": "FOR UPDATE",
    "version": "FOR SYSTEM_TIME",
    "db": "a name of two parts in FROM",
    "kind": "SELECT AS",
}


def convert_select(node: exp.Expr | None, around: Span) -> syntax.Select:
    """A parsed SELECT as Headrace syntax; each clause consumed or refused by name."""
    if not isinstance(node, exp.Select):
        raise sql_error("expected SELECT", around)
    if problems := _unknown_clauses(node, around):
        raise SqlError(problems)
    source = node.args.get("from_")
    if source is None:
        raise sql_error("a query needs FROM", around)
    if not node.expressions:
        raise sql_error("a query needs columns", around, "SELECT * takes all")
    window = node.args.get(GROUPING_WINDOW_ARG)
    windows = node.args.get(NAMED_WINDOWS_ARG)
    emit = node.args.get(EMIT_ARG)
    partition_by = node.args.get(PARTITION_BY_ARG)
    distinct = node.args.get("distinct")
    if distinct is not None and distinct.args.get("on"):
        raise sql_error(
            "DISTINCT ON is not supported yet", span_of(distinct, around), "ROW_NUMBER finds the first rows"
        )
    where, having, qualify = (node.args.get(clause) for clause in ("where", "having", "qualify"))
    return syntax.Select(
        commons=(),
        distinct=distinct is not None,
        items=tuple(_select_item(item, around) for item in node.expressions),
        source=_table(source.this, around),
        unnestings=tuple(_unnesting(join, around) for join in node.args.get("joins") or ()),
        where=convert_expression(where.this, around) if where is not None else None,
        group_by=_group_by(node.args.get("group"), around),
        having=convert_expression(having.this, around) if having is not None else None,
        window=held(window) if window is not None else None,
        windows=held(windows) if windows is not None else (),
        partition_by=held(partition_by) if partition_by is not None else (),
        qualify=convert_expression(qualify.this, around) if qualify is not None else None,
        emit=held(emit) if emit is not None else None,
        span=around,
    )


def _unknown_clauses(node: exp.Expr, around: Span) -> list[Problem]:
    problems: list[Problem] = []
    for argument, value in node.args.items():
        if value and argument not in _CLAUSES:
            what = _CLAUSE_NAMES.get(argument, argument.strip("_").upper())
            place = value[0] if isinstance(value, list) else value
            span = span_of(place, around) if isinstance(place, exp.Expr) else around
            problems.append(Problem(f"{what} is not supported yet", span))
    return problems


def _select_item(node: exp.Expr, around: Span) -> syntax.SelectItem:
    span = span_of(node, around)
    if isinstance(node, exp.Alias):
        alias = _identifier(node.args["alias"], span)
        return syntax.SelectItem(convert_expression(node.this, span), alias, span)
    return syntax.SelectItem(convert_expression(node, span), None, span)


_GROUPINGS: dict[type[exp.Expr], str] = {
    exp.Cube: "CUBE",
    exp.Rollup: "ROLLUP",
    exp.GroupingSets: "GROUPING SETS",
}


def _group_by(node: exp.Expr | None, around: Span) -> tuple[syntax.Expression, ...] | None:
    if node is None:
        return None
    for argument, value in node.args.items():
        if value and argument != "expressions":
            raise sql_error(f"GROUP BY {argument.replace('_', ' ').upper()} is not supported yet", around)
    if not node.expressions:
        raise sql_error("GROUP BY needs an expression", around)
    flat: list[syntax.Expression] = []
    for item in node.expressions:
        if type(item) in _GROUPINGS:
            raise sql_error(f"{_GROUPINGS[type(item)]} is not supported yet", span_of(item, around))
        if isinstance(item, exp.Tuple):
            raise sql_error("a row in GROUP BY is not supported yet", span_of(item, around))
        flat.append(convert_expression(item, around))
    return tuple(flat)


def _table(node: exp.Expr, around: Span) -> syntax.TableReference:
    span = span_of(node, around)
    if not isinstance(node, exp.Table):
        raise sql_error("FROM takes the name of a stream or table, or a query in parentheses", span)
    for argument, value in node.args.items():
        if value and argument not in ("this", "alias"):
            what = _CLAUSE_NAMES.get(argument, argument.strip("_").upper())
            raise sql_error(f"{what} is not supported yet", span)
    alias, columns = convert_alias(node.args.get("alias"), span)
    inner = node.this
    if _HELD in inner.meta:
        relation, window = held(inner)
        return syntax.TableReference(relation, alias, columns, window, relation.span if window is None else window.span)
    if not isinstance(inner, exp.Identifier):
        raise sql_error(f"{inner.name.upper()} in FROM is not supported yet", span)
    return syntax.TableReference(_identifier(inner, span), alias, columns, None, span)


def _unnesting(node: exp.Expr, around: Span) -> syntax.Unnesting:
    """A join with the elements of an array. SqlError where it is another join."""
    span = span_of(node, around)
    unnest = node.this
    alias = unnest.args.get("alias")
    if isinstance(unnest, exp.Lateral):
        unnest = unnest.this
    if not isinstance(unnest, exp.Unnest):
        raise sql_error("JOIN is not supported yet", span)
    side, on = str(node.args.get("side") or "").upper(), node.args.get("on")
    is_true = isinstance(on, exp.Boolean) and bool(on.this)
    if side not in ("", "LEFT") or node.args.get("using") or (on is not None and not is_true):
        raise sql_error("UNNEST takes CROSS JOIN, or LEFT JOIN … ON TRUE", span)
    called, columns = convert_alias(alias, span)
    offset = unnest.args.get("offset")
    ordinality: syntax.Identifier | None = None
    if offset:
        ordinality = _identifier(offset, span) if isinstance(offset, exp.Identifier) else None
        ordinality = ordinality or syntax.Identifier("ordinality", False, span)
    arrays = tuple(convert_expression(array, span) for array in unnest.expressions)
    return syntax.Unnesting(arrays, called, columns, ordinality, side == "LEFT", span)


def convert_alias(
    node: exp.Expr | None, around: Span
) -> tuple[syntax.Identifier | None, tuple[syntax.Identifier, ...]]:
    """`name (columns)` behind a relation, or before AS in WITH."""
    if node is None:
        return None, ()
    columns: list[syntax.Identifier] = []
    for column in node.args.get("columns") or ():
        if not isinstance(column, exp.Identifier):
            raise sql_error("a column name in an alias is a name alone", span_of(column, around))
        columns.append(_identifier(column, around))
    return (_identifier(node.this, around) if node.this is not None else None), tuple(columns)

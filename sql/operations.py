"""Types of operations: what an operator or a function makes of its operands, and which conversions that needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from headrace.sql import expressions as e
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.codegen import time_arithmetic
from headrace.sql.codegen.casts import converter, is_castable
from headrace.sql.errors import RecordError, Span, did_you_mean_zone, sql_error
from headrace.sql.functions import patterns, scalars
from headrace.sql.functions.registry import Parameter, ScalarFunction, Signature
from headrace.sql.runtime import json_access, values
from headrace.sql.runtime.times import zone

_TIMES = (t.Kind.DATE, t.Kind.TIMESTAMP, t.Kind.TIMESTAMP_LTZ, t.Kind.TIME)

_INTERVALS = {t.Kind.INTERVAL, t.Kind.MONTHS}


def number(node: s.NumberLiteral) -> e.Expr:
    """Whole numbers are INT or BIGINT, with a point DECIMAL, with an exponent DOUBLE (as in PostgreSQL and Flink)."""
    text = node.text.lower()
    if "e" in text:
        double = float(text)
        if math.isinf(double):
            raise sql_error("the number does not fit DOUBLE", node.span)
        return e.Literal(double, t.DOUBLE)
    value = Decimal(text)
    if "." in text:
        scale = len(text.split(".")[1])
        digits = max(len(value.as_tuple().digits), scale)
        if digits > t.MAX_PRECISION:
            raise sql_error(f"a number of more than {t.MAX_PRECISION} digits", node.span)
        return e.Literal(value or value.copy_abs(), t.Type(t.Kind.DECIMAL, digits, scale))
    number = int(value)
    if values.INT_MIN <= number <= values.INT_MAX:
        return e.Literal(number, t.INT)
    if values.BIGINT_MIN <= number <= values.BIGINT_MAX:
        return e.Literal(number, t.BIGINT)
    raise sql_error("the number does not fit BIGINT", node.span)


def together(operands: Iterable[e.Expr], span: Span, verb: str) -> tuple[e.Expr, ...]:
    """Operands converted to their common type; SqlError where there is none."""
    bound = list(operands)
    for index, operand in enumerate(bound):  # a text constant beside a time is a time
        if isinstance(operand, e.Literal) and operand.type == t.VARCHAR:
            time = next((o.type for o in bound if o.type.kind in _TIMES), None)
            if time is not None:
                bound[index] = cast(operand, time, span)
    common = t.NULL
    for operand in bound:
        found = t.common_type(common, operand.type)
        if found is None:
            raise sql_error(f"cannot {verb} {common} with {operand.type}", span, "CAST one of them")
        common = found
    return tuple(coerce(operand, common, span) for operand in bound)


def coerce(operand: e.Expr, type_: t.Type, span: Span) -> e.Expr:
    """The operand as a type that it converts to implicitly."""
    if operand.type == type_ or type_.kind is t.Kind.NULL:
        return operand
    if isinstance(operand, e.Literal) and operand.value is None:
        return e.Literal(None, type_)
    if operand.type.kind is t.Kind.INT and type_.kind is t.Kind.BIGINT:
        return e.Literal(operand.value, type_) if isinstance(operand, e.Literal) else operand
    return cast(operand, type_, span)


def cast(operand: e.Expr, type_: t.Type, span: Span, *, on_error_null: bool = False) -> e.Expr:
    """A conversion, done at once where the operand is a constant."""
    if operand.type == type_:
        return operand
    if isinstance(operand, e.Literal) and operand.value is None:
        return e.Literal(None, type_)
    if not is_castable(operand.type, type_):
        raise sql_error(f"cannot cast {operand.type} to {type_}", span)
    if not isinstance(operand, e.Literal):
        return e.Cast(operand, type_, on_error_null)
    try:
        return e.Literal(converter(operand.type, type_)(operand.value), type_)
    except RecordError as error:
        if on_error_null:
            return e.Literal(None, type_)
        raise sql_error(str(error), span) from None


def arithmetic(operator: str, left: e.Expr, right: e.Expr, span: Span) -> e.Expr:
    kinds = {left.type.kind, right.type.kind}
    if operator == "||" or (operator == "+" and t.Kind.VARCHAR in kinds and not kinds & _INTERVALS):
        return _concatenation(operator, left, right, span)
    if kinds == {t.Kind.NULL}:
        return e.Literal(None, t.INT)
    if kinds & time_arithmetic.KINDS:
        return _time_arithmetic(operator, left, right, span)
    common = t.common_type(left.type, right.type)
    if common is None or not common.is_numeric:
        raise sql_error(f"`{operator}` does not take {left.type} and {right.type}", span)
    if common.kind is t.Kind.DECIMAL:
        result = _decimal_result(operator, left.type, right.type)
        return e.Arithmetic(operator, _to_decimal(left), _to_decimal(right), result)
    if common.kind is t.Kind.DOUBLE:
        return e.Arithmetic(operator, _to_double(left, span), _to_double(right, span), common)
    return e.Arithmetic(operator, coerce(left, common, span), coerce(right, common, span), common)


def _to_decimal(operand: e.Expr) -> e.Expr:
    if operand.type.kind is t.Kind.NULL:
        return e.Literal(None, t.decimal_type(1, 0))
    if operand.type.kind is t.Kind.DECIMAL:
        return operand
    decimal = t.as_decimal(operand.type)
    if isinstance(operand, e.Literal) and isinstance(operand.value, int):
        return e.Literal(Decimal(operand.value), decimal)
    return e.Cast(operand, decimal, False)


def _to_double(operand: e.Expr, span: Span) -> e.Expr:
    """DECIMAL beside DOUBLE is DOUBLE; an integer variable needs no conversion, Python's arithmetic makes a float."""
    if operand.type.is_integer and not isinstance(operand, e.Literal):
        return operand
    return coerce(operand, t.DOUBLE, span)


def _decimal_result(operator: str, left: t.Type, right: t.Type) -> t.Type:
    a = t.as_decimal(left) if left.kind is not t.Kind.NULL else t.decimal_type(1, 0)
    b = t.as_decimal(right) if right.kind is not t.Kind.NULL else t.decimal_type(1, 0)
    whole = max(a.precision - a.scale, b.precision - b.scale)
    match operator:
        case "*":
            return t.decimal_type(a.precision + b.precision, a.scale + b.scale)
        case "/":
            scale = max(6, a.scale + b.precision + 1)
            return t.decimal_type(a.precision - a.scale + b.scale + scale, scale)
        case "%":
            scale = max(a.scale, b.scale)
            return t.decimal_type(min(a.precision - a.scale, b.precision - b.scale) + scale, scale)
        case _:
            scale = max(a.scale, b.scale)
            return t.decimal_type(whole + scale + 1, scale)


def _concatenation(operator: str, left: e.Expr, right: e.Expr, span: Span) -> e.Expr:
    texts, bytes_ = scalars.BY_NAME["CONCAT"].signatures
    if operator == "||" and left.type == right.type == t.BYTES:
        return e.Call("CONCAT", bytes_, (left, right), t.BYTES)
    if t.Kind.VARCHAR not in (left.type.kind, right.type.kind):
        raise sql_error(f"`{operator}` joins VARCHAR, found {left.type} and {right.type}", span)
    operands: list[e.Expr] = []
    for operand in (left, right):  # a chain is one call
        if isinstance(operand, e.Call) and operand.signature is texts:
            operands += operand.operands
        else:
            operands.append(coerce(operand, t.VARCHAR, span))
    return e.Call("CONCAT", texts, tuple(operands), t.VARCHAR)


def _time_arithmetic(operator: str, left: e.Expr, right: e.Expr, span: Span) -> e.Expr:
    given = left.type, right.type
    result = time_arithmetic.result_type(operator, left.type, right.type)
    if result is None and operator in ("+", "*"):  # which take their operands in either order
        left, right = right, left
        result = time_arithmetic.result_type(operator, left.type, right.type)
    if result is None and t.Kind.NULL in (left.type.kind, right.type.kind):
        known = right.type if left.type.kind is t.Kind.NULL else left.type
        moved = operator in ("+", "-") and known.kind in _INTERVALS  # what NULL moves by an interval is a time
        return e.Literal(None, t.TIMESTAMP if moved else known)
    if result is None:
        hint = None
        if {type_.kind for type_ in given} == {t.Kind.INTERVAL, t.Kind.MONTHS}:
            hint = "months have no fixed length: add one after the other"
        raise sql_error(f"`{operator}` does not take {given[0]} and {given[1]}", span, hint)
    if left.type.kind is t.Kind.DATE and result.kind is t.Kind.TIMESTAMP and right.type.kind is not t.Kind.TIME:
        left = cast(left, t.TIMESTAMP, span)
    if right.type.kind is t.Kind.DATE and left.type.kind is not t.Kind.DATE:
        right = cast(right, t.TIMESTAMP, span)
    if left.type.kind is t.Kind.DATE and right.type.kind in (t.Kind.TIMESTAMP, t.Kind.TIMESTAMP_LTZ):
        left = cast(left, t.TIMESTAMP, span)
    if right.type.kind is t.Kind.DECIMAL:
        right = cast(right, t.DOUBLE, span)
    if isinstance(left, e.Literal) and isinstance(right, e.Literal):
        return _folded(operator, left, right, result, span)
    return e.Arithmetic(operator, left, right, result)


def _folded(operator: str, left: e.Literal, right: e.Literal, result: t.Type, span: Span) -> e.Expr:
    if left.value is None or right.value is None:
        return e.Literal(None, result)
    try:
        return e.Literal(time_arithmetic.calculator(operator, left.type, right.type)(left.value, right.value), result)
    except RecordError as error:
        raise sql_error(str(error), span) from None


_COUNTS = {
    **dict.fromkeys(("TYPEOF", "AS_VALUE", "TO_JSON", "TO_JSON_STRING"), 1),
    **dict.fromkeys(("NULLIF", "IFNULL", "MOD", "IS_DISTINCT_FROM"), 2),
    "IF": 3,
}
"""Operands of the functions that take a number of them; the others take any."""


def rewritten(node: s.FunctionCall, operands: list[e.Expr]) -> e.Expr:
    name = scalars.REWRITTEN[node.name].name
    wanted = _COUNTS.get(name)
    if len(operands) != wanted if wanted is not None else not operands:
        raise sql_error(f"{node.name} takes {wanted or 'some'} operand{'' if wanted == 1 else 's'}", node.span)
    match name:
        case "TYPEOF":
            return e.Literal(str(operands[0].type), t.VARCHAR)
        case "AS_VALUE":
            return operands[0]
        case "IS_DISTINCT_FROM":
            left, right = together(operands, node.span, "compare")
            return e.IsDistinct(left, right)
        case "TO_JSON_STRING":
            return cast(to_json(operands[0], node.span), t.VARCHAR, node.span)
        case "TO_JSON":
            return to_json(operands[0], node.span)
        case "JSON_ARRAY" | "JSON_OBJECT":
            return _json_of(node, operands)
        case "MOD":
            return arithmetic("%", operands[0], operands[1], node.span)
        case "NULLIF":
            left, right = together(operands, node.span, "compare")
            null = e.Literal(None, left.type)
            return e.computed_once(left, lambda it: e.Case(((e.Comparison("=", it, right), null),), it, left.type))
        case "IF":
            if operands[0].type.kind not in (t.Kind.BOOLEAN, t.Kind.NULL):
                raise sql_error(f"expected a condition, found {operands[0].type}", node.arguments[0].span)
            condition = coerce(operands[0], t.BOOLEAN, node.span)
            then, otherwise = together(operands[1:], node.span, "mix")
            return e.Case(((condition, then),), otherwise, type_of((then, otherwise)))
        case _:
            mixed = together(operands, node.span, "mix")
            return e.Coalesce(mixed, type_of(mixed))


def to_json(operand: e.Expr, span: Span) -> e.Expr:
    """A value as JSON: a text is a string, whatever it says."""
    if operand.type.kind is t.Kind.NULL:
        return e.Literal(None, t.JSON)
    if operand.type.kind is t.Kind.VARCHAR:
        return e.Call("TO_JSON", _QUOTE, (operand,), t.JSON)
    return cast(operand, t.JSON, span)


_QUOTE = Signature((t.VARCHAR,), t.JSON, "text_of({0})", (json_access.text_of,))
_JSON = {
    "JSON_ARRAY": Signature(
        ("any",), t.JSON, "json_array(({*}))", (json_access.json_array,), variadic=True, sees_null=True
    ),
    "JSON_OBJECT": Signature(
        ("any",), t.JSON, "json_object(({*}))", (json_access.json_object,), variadic=True, sees_null=True, fails=True
    ),
}


def _json_of(node: s.FunctionCall, operands: list[e.Expr]) -> e.Expr:
    """JSON_ARRAY of values, JSON_OBJECT of names and values by turns."""
    if node.name == "JSON_OBJECT":
        if len(operands) % 2:
            raise sql_error("JSON_OBJECT takes names and values", node.span, "for example JSON_OBJECT('a', 1, 'b', 2)")
        for key, argument in zip(operands[::2], node.arguments[::2], strict=True):
            if key.type.kind is not t.Kind.VARCHAR:
                raise sql_error(f"a name in JSON is VARCHAR, found {key.type}", argument.span)
    is_name = [node.name == "JSON_OBJECT" and index % 2 == 0 for index in range(len(operands))]
    pairs = zip(operands, is_name, strict=True)
    parts = tuple(operand if named else to_json(operand, node.span) for operand, named in pairs)
    return e.Call(node.name, _JSON[node.name], parts, t.JSON)


def call(function: ScalarFunction, operands: list[e.Expr], node: s.FunctionCall) -> e.Expr:
    """A call of the signature that fits the operands; SqlError that shows the signatures where none does."""
    if function.name in patterns.EITHER_ORDER and len(operands) > 1:
        first_is_constant, second_is_constant = (isinstance(operand, e.Literal) for operand in operands[:2])
        if first_is_constant and not second_is_constant:  # ksqlDB's order: the pattern, then the text
            operands = [operands[1], operands[0], *operands[2:]]
            node = replace(node, arguments=(node.arguments[1], node.arguments[0], *node.arguments[2:]))
    for signature in function.signatures:
        fitted = _fit(signature, operands, node.span)
        type_ = None if fitted is None else _result_type(signature, fitted)
        if fitted is not None and type_ is not None:
            check_prepared(signature, fitted, node.arguments)
            return e.Call(function.name, signature, fitted, type_)
    given = ", ".join(str(operand.type) for operand in operands)
    shown = " or ".join(show_signature(function.name, signature) for signature in function.signatures)
    raise sql_error(f"{node.name}({given}) does not exist", node.span, f"it is {shown}")


def check_prepared(signature: Signature, operands: tuple[e.Expr, ...], written: Sequence[s.Expression]) -> None:
    """Try constants that are prepared, or name a time zone; SqlError at the place of one that is wrong."""
    checks: list[tuple[int, Callable[[str], object]]] = []
    if signature.prepared is not None:
        checks.append(signature.prepared)
    checks += [(index, zone) for index, parameter in enumerate(signature.parameters) if parameter == "zone"]
    for index, check in checks:
        operand = operands[index]
        if isinstance(operand, e.Literal) and isinstance(operand.value, str):
            try:
                check(operand.value)
            except RecordError as error:
                hint = did_you_mean_zone(operand.value) if check is zone else None
                raise sql_error(str(error), written[index].span, hint) from None


def _result_type(signature: Signature, operands: tuple[e.Expr, ...]) -> t.Type | None:
    if signature.returns is None:
        return type_of(operands)
    if isinstance(signature.returns, t.Type):
        return signature.returns
    return signature.returns(tuple(operand.type for operand in operands))


def show_signature(name: str, signature: Signature) -> str:
    """A signature as the docs write it."""
    parts = [str(parameter) for parameter in signature.parameters]
    for index in range(len(parts) - signature.optional, len(parts)):
        parts[index] = f"[{parts[index]}]"
    return f"{name}({', '.join(parts)}{', …' if signature.variadic else ''})"


def _fit(signature: Signature, operands: list[e.Expr], span: Span) -> tuple[e.Expr, ...] | None:
    parameters = list(signature.parameters)
    if signature.variadic and len(operands) > len(parameters):
        parameters += [parameters[-1]] * (len(operands) - len(parameters))
    if not len(parameters) - signature.optional <= len(operands) <= len(parameters):
        return None
    fitted: list[e.Expr] = []
    for parameter, operand in zip(parameters, operands, strict=False):
        if parameter in ("element", "same"):
            first = fitted[0].type
            wanted = first.element if parameter == "element" else first
            converted = None
            if wanted is not None and t.common_type(wanted, operand.type) == wanted:
                converted = coerce(operand, wanted, span)
        else:
            converted = fit_one(parameter, operand, span)
        if converted is None:
            return None
        fitted.append(converted)
    if signature.returns is None and signature.parameters[0] in ("any", "ordered"):
        common = type_of(tuple(fitted))
        return tuple(coerce(operand, common, span) for operand in fitted) if common is not t.NULL else None
    return tuple(fitted)


def fit_one(parameter: Parameter, operand: e.Expr, span: Span) -> e.Expr | None:
    """The operand as a parameter takes it; None where it does not."""
    kind = operand.type.kind
    match parameter:
        case "any":
            return operand
        case "ordered":
            return operand if operand.type.is_ordered else None
        case "number" | "integer" if kind is t.Kind.NULL:
            return coerce(operand, t.INT, span)
        case "number":
            return operand if operand.type.is_numeric else None
        case "integer":
            return operand if operand.type.is_integer else None
        case "zone":
            return coerce(operand, t.VARCHAR, span) if kind in (t.Kind.VARCHAR, t.Kind.NULL) else None
        case "decimal" | "array" | "map" | "struct":
            return operand if kind is t.Kind[parameter.upper()] else None
        case t.Type():
            if operand.type == parameter:
                return operand
            if kind is t.Kind.NULL or (parameter.kind is t.Kind.DOUBLE and operand.type.is_numeric):
                return coerce(operand, parameter, span)
            if parameter.kind is t.Kind.BIGINT and operand.type.is_integer:
                return coerce(operand, parameter, span)
            if parameter.kind is t.Kind.DECIMAL and _keeps_digits(operand.type, parameter):
                return coerce(operand, parameter, span)
            if parameter.kind is t.Kind.TIMESTAMP and kind is t.Kind.DATE:
                return cast(operand, parameter, span)
            if parameter.kind is t.Kind.TIMESTAMP and kind is t.Kind.TIMESTAMP_LTZ:
                return operand
            if parameter.kind is t.Kind.VARCHAR and kind is t.Kind.JSON:
                return operand
            if parameter.kind is t.Kind.ARRAY and kind is t.Kind.ARRAY and is_castable(operand.type, parameter):
                return cast(operand, parameter, span)
    return None


def _keeps_digits(type_: t.Type, decimal: t.Type) -> bool:
    """Whether a number that is in the range of a DECIMAL has all its digits there."""
    return type_.is_integer or (type_.kind is t.Kind.DECIMAL and type_.scale <= decimal.scale)


def type_of(operands: Iterable[e.Expr]) -> t.Type:
    """The common type of operands that were brought together: an INT among BIGINTs keeps its own."""
    common = t.NULL
    for operand in operands:
        common = t.common_type(common, operand.type) or t.NULL
    return common

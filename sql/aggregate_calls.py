"""Binding of aggregate calls: their operands and constants, DISTINCT, ORDER BY and FILTER."""

from __future__ import annotations

from typing import Protocol

from headrace.sql import expressions as e
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.codegen.expressions import fails
from headrace.sql.errors import sql_error
from headrace.sql.functions.accumulators import (
    AggregateFunction,
    AggregateSignature,
    Constant,
    ConstantParameter,
    Given,
    OrderBy,
)
from headrace.sql.functions.catalog import Functions
from headrace.sql.functions.totals import COUNT_FUNCTION, ROWS
from headrace.sql.operations import coerce, fit_one
from headrace.sql.vocabulary import Direction


class Binder(Protocol):
    """Binds expressions over the rows of a group."""

    def bind(self, node: s.Expression) -> e.Expr: ...

    def bind_predicate(self, node: s.Expression) -> e.Expr: ...


def check_plain(node: s.FunctionCall) -> None:
    """SqlError for what only an aggregate function takes, in a call of another one."""
    if node.distinct or node.star:
        raise sql_error(f"{node.name} takes neither DISTINCT nor *", node.span)
    if node.order_by:
        raise sql_error(f"{node.name} takes no ORDER BY", node.order_by[0].span)
    if node.filter is not None:
        raise sql_error(f"{node.name} takes no FILTER", node.filter.span)


def bind_aggregate(node: s.FunctionCall, binder: Binder, functions: Functions) -> e.AggregateCall:
    """The call, its operands bound; SqlError at the place of whatever does not fit."""
    passes = _condition(node, binder)
    if node.star:
        if node.name != "COUNT":
            raise sql_error(f"{node.name}(*) does not exist", node.span, "COUNT(*) does")
        if node.order_by:
            raise sql_error("COUNT takes no ORDER BY", node.order_by[0].span)
        counted = () if passes is None else (passes,)
        return e.AggregateCall(COUNT_FUNCTION, counted, (), False, (), (), None, ROWS)
    name = "COUNT_DISTINCT" if node.distinct and node.name == "COUNT" else node.name
    function = functions.aggregates[name]
    distinct = node.distinct and function.distinct != function.signatures
    if distinct and not function.distinct:
        raise sql_error(f"{name}(DISTINCT …) is not supported", node.span)
    _check_order(node, function)
    arguments = node.arguments
    if function.order_by is OrderBy.OPERAND and node.order_by:
        arguments = (node.order_by[0].expression, *arguments)
    operands = [binder.bind(argument) for argument in arguments]
    for operand, argument in zip(operands, arguments, strict=True):
        if operand.type.kind is t.Kind.NULL:
            raise sql_error(f"{name} of NULL has no type", argument.span, "CAST the NULL to one")
    keys = tuple(_key(item, binder) for item in node.order_by) if function.order_by is OrderBy.ELEMENTS else ()
    directions = tuple(Direction(item.descending, item.nulls_first) for item in node.order_by)
    signatures = function.distinct if distinct else function.signatures
    for signature in signatures:
        fitted = _fit(signature, operands, node)
        if fitted is None:
            continue
        values, constants = fitted
        types = tuple(value.type for value in (*values, *keys))
        aggregation = signature.keep(Given(types, constants, directions))
        if aggregation is None:
            raise sql_error(f"{name} does not take {', '.join(map(str, types))}", node.span)
        if signature.check is not None:
            values = (e.Call("CHECKED", signature.check, values, values[0].type), *values[1:])
        if function is COUNT_FUNCTION and passes is None and not values[0].nullable and not fails(values[0]):
            values = ()
        condition = None
        if passes is not None:
            sees_null = any(accumulator.sees_null for accumulator in aggregation.accumulators)
            condition = passes if sees_null else None
            values = tuple(_where(passes, value) for value in values)
        return e.AggregateCall(function, values, constants, distinct, keys, directions, condition, aggregation)
    found = ", ".join(str(operand.type) for operand in operands)
    shown = " or ".join(dict.fromkeys(show_signature(function.name, signature) for signature in signatures))
    raise sql_error(f"{node.name}({found}) does not exist", node.span, f"it is {shown}")


def show_signature(name: str, signature: AggregateSignature) -> str:
    """A signature as the docs write it."""
    parts = [*map(str, signature.operands), *(constant.name for constant in signature.constants)]
    return f"{name}({', '.join(parts)})"


def _condition(node: s.FunctionCall, binder: Binder) -> e.Expr | None:
    """What FILTER says: TRUE, else NULL."""
    if node.filter is None:
        return None
    passes = binder.bind_predicate(node.filter)
    return e.Case(((passes, e.Literal(True, t.BOOLEAN)),), e.Literal(None, t.BOOLEAN), t.BOOLEAN)


def _where(passes: e.Expr, operand: e.Expr) -> e.Expr:
    """An operand that is NULL in rows that FILTER leaves out, and not computed for them."""
    assert isinstance(passes, e.Case)
    ((condition, _),) = passes.branches
    return e.Case(((condition, operand),), e.Literal(None, operand.type), operand.type)


def _check_order(node: s.FunctionCall, function: AggregateFunction) -> None:
    """SqlError for an ORDER BY that says nothing to the function."""
    if not node.order_by:
        return
    name, place = function.name, node.order_by[0].span
    match function.order_by:
        case OrderBy.REFUSED:
            raise sql_error(
                f"{name} takes no ORDER BY", place, "ARG_MIN(x, y) and ARG_MAX(x, y) take x by the order of y"
            )
        case OrderBy.OPERAND if not node.within_group or len(node.order_by) > 1:
            shown = f"{name}(0.5) WITHIN GROUP (ORDER BY x)"
            raise sql_error(f"{name} takes one key, WITHIN GROUP", place, f"for example {shown}")
        case OrderBy.ELEMENTS if node.distinct:
            raise sql_error(f"{name}(DISTINCT …) takes no ORDER BY", place, "its elements stand as they first came")


def _key(item: s.OrderItem, binder: Binder) -> e.Expr:
    key = binder.bind(item.expression)
    if not key.type.is_ordered or key.type.kind is t.Kind.NULL:
        raise sql_error(f"cannot order by {key.type}", item.span)
    return key


def _fit(
    signature: AggregateSignature, operands: list[e.Expr], node: s.FunctionCall
) -> tuple[tuple[e.Expr, ...], tuple[Constant, ...]] | None:
    """The operands as the signature takes them, and its constants; None where it takes others."""
    count = len(signature.operands)
    if len(operands) != count + len(signature.constants):
        return None
    fitted = [fit_one(parameter, o, node.span) for parameter, o in zip(signature.operands, operands, strict=False)]
    constants = [
        _constant(parameter, o, node) for parameter, o in zip(signature.constants, operands[count:], strict=True)
    ]
    values = tuple(value for value in fitted if value is not None)
    known = tuple(constant for constant in constants if constant is not None)
    return (values, known) if len(values) + len(known) == len(operands) else None


def _constant(parameter: ConstantParameter, given: e.Expr, node: s.FunctionCall) -> Constant | None:
    """The value of a constant; None where it is of another type."""
    fitted = fit_one(parameter.type, given, node.span)
    if fitted is None:
        return None
    fitted = coerce(fitted, parameter.type, node.span)
    if not isinstance(fitted, e.Literal) or fitted.value is None:
        raise sql_error(f"{parameter.name} of {node.name} must be a constant", node.span)
    value = fitted.value
    if parameter.high and not (isinstance(value, (int, float)) and parameter.low <= value <= parameter.high):
        raise sql_error(f"{parameter.name} of {node.name} is from {parameter.low} to {parameter.high}", node.span)
    assert isinstance(value, (bool, int, float, str))
    return value

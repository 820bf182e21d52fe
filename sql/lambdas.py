"""Binding of TRANSFORM, FILTER and REDUCE, which apply a lambda to the parts of an ARRAY or a MAP (as in ksqlDB)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

from headrace.sql import expressions as e
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.errors import Span, sql_error
from headrace.sql.functions.registry import Signature
from headrace.sql.operations import coerce
from headrace.sql.runtime.nested import filter_map, reduce_map, transform_map

Bind = Callable[[s.Expression, Mapping[str, e.LambdaVariable]], e.Expr]
"""Binds an expression in which some more names have a meaning."""

FORMS = {
    "TRANSFORM": "TRANSFORM(array, x => …) or TRANSFORM(map, (k, v) => …, (k, v) => …)",
    "FILTER": "FILTER(array, x => …) or FILTER(map, (k, v) => …)",
    "REDUCE": "REDUCE(array, start, (sum, x) => …) or REDUCE(map, start, (sum, k, v) => …)",
}
_OF_ARRAYS = {
    "TRANSFORM": Signature(("array", "any"), None, "tuple(map({1}, {0}))"),
    "FILTER": Signature(("array", "any"), None, "tuple(filter({1}, {0}))"),
    "REDUCE": Signature(("array", "any", "any"), None, "reduce({2}, {0}, {1})", (reduce,), may_be_null=True),
}
_OF_MAPS = {
    "TRANSFORM": Signature(("map", "any", "any"), None, "transform_map({*})", (transform_map,), fails=True),
    "FILTER": Signature(("map", "any"), None, "filter_map({*})", (filter_map,)),
    "REDUCE": Signature(("map", "any", "any"), None, "reduce_map({*})", (reduce_map,), may_be_null=True),
}


def call(node: s.FunctionCall, bind: Bind) -> e.Expr:
    """A call of one of them; SqlError that shows its forms where the arguments are others."""
    if not node.arguments:
        raise _wrong(node)
    operand = bind(node.arguments[0], {})
    if operand.type.element is None:
        raise sql_error(f"{node.name} takes an ARRAY or a MAP, found {operand.type}", node.arguments[0].span)
    is_map = operand.type.kind is t.Kind.MAP
    lambdas = [argument for argument in node.arguments[1:] if isinstance(argument, s.Lambda)]
    wanted = {"TRANSFORM": 2 if is_map else 1, "FILTER": 1, "REDUCE": 2}[node.name]
    if len(node.arguments) != 1 + wanted or len(lambdas) != (1 if node.name == "REDUCE" else wanted):
        raise _wrong(node)
    element = operand.type.element
    parts = [e.LambdaVariable("", t.VARCHAR, False)] if is_map else []
    parts.append(e.LambdaVariable("", element))
    signature = (_OF_MAPS if is_map else _OF_ARRAYS)[node.name]
    match node.name:
        case "TRANSFORM":
            bound = [_bind(one, parts, bind, node) for one in lambdas]
            for one, body in zip(lambdas, bound, strict=True):
                _check_typed(body, one.body.span)
            if is_map and bound[0].type != t.VARCHAR:
                raise sql_error(f"keys of a MAP are VARCHAR, found {bound[0].type}", lambdas[0].body.span)
            made = t.map_type(bound[1].type) if is_map else t.array_type(bound[0].type)
            return e.Call(node.name, signature, (operand, *bound), made)
        case "FILTER":
            condition = _bind(lambdas[0], parts, bind, node)
            if condition.type.kind not in (t.Kind.BOOLEAN, t.Kind.NULL):
                raise sql_error(f"expected a condition, found {condition.type}", lambdas[0].body.span)
            return e.Call(node.name, signature, (operand, condition), operand.type)
    return _reduced(node, operand, parts, signature, bind)


def _reduced(
    node: s.FunctionCall, operand: e.Expr, parts: list[e.LambdaVariable], signature: Signature, bind: Bind
) -> e.Expr:
    start, one = bind(node.arguments[1], {}), node.arguments[2]
    if not isinstance(one, s.Lambda):
        raise _wrong(node)
    type_ = start.type
    body = _bind(one, [e.LambdaVariable("", type_), *parts], bind, node)
    wider = t.common_type(type_, body.type)
    if wider is None:
        raise sql_error(
            f"REDUCE begins with {type_}, and its lambda gives {body.type}", one.body.span, "CAST one of them"
        )
    if wider != type_:
        body = _bind(one, [e.LambdaVariable("", wider), *parts], bind, node)
    if body.type != wider:
        body = e.Lambda(body.parameters, coerce(body.body, wider, one.body.span))
    _check_typed(body, one.body.span)
    return e.Call(node.name, signature, (operand, coerce(start, wider, node.span), body), wider)


def _bind(node: s.Lambda, parts: list[e.LambdaVariable], bind: Bind, call: s.FunctionCall) -> e.Lambda:
    if len(node.parameters) != len(parts):
        raise sql_error(
            f"this lambda takes {len(parts)} parameters, found {len(node.parameters)}", node.span, FORMS[call.name]
        )
    variables: dict[str, e.LambdaVariable] = {}
    for name, part in zip(node.parameters, parts, strict=True):
        if name.quoted or not (name.text.isascii() and name.text.isidentifier()):
            raise sql_error("a parameter of a lambda is a plain name", name.span)
        if name.text.lower() in variables:
            raise sql_error(f"two parameters are named `{name.text}`", name.span)
        variables[name.text.lower()] = e.LambdaVariable(name.text.lower(), part.type, part.nullable)
    return e.Lambda(tuple(variables.values()), bind(node.body, variables))


def _check_typed(expression: e.Expr, span: Span) -> None:
    if not expression.type.is_storable:
        raise sql_error(f"a lambda cannot give {expression.type}", span, "CAST it")


def _wrong(node: s.FunctionCall) -> Exception:
    return sql_error(f"{node.name} takes other arguments", node.span, f"it is {FORMS[node.name]}")

"""Binding of what ARRAY, MAP, STRUCT and JSON values are made of, and of access to their parts."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.sql import expressions as e
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.errors import Span, did_you_mean, sql_error
from headrace.sql.functions.registry import Signature
from headrace.sql.operations import cast, coerce, together, type_of
from headrace.sql.runtime.json_access import json_part, json_part_text
from headrace.sql.runtime.nested import element_of_array, element_of_map, make_map

_JSON_PARTS = {
    "->": Signature(("any", "any"), t.JSON, "json_part({0}, {1})", (json_part,), may_be_null=True, fails=True),
    "->>": Signature(
        ("any", "any"), t.VARCHAR, "json_part_text({0}, {1})", (json_part_text,), may_be_null=True, fails=True
    ),
}
_ELEMENTS = {
    t.Kind.ARRAY: Signature(
        ("array", "integer"), None, "element_of_array({0}, {1})", (element_of_array,), may_be_null=True
    ),
    t.Kind.MAP: Signature(("map", t.VARCHAR), None, "element_of_map({0}, {1})", (element_of_map,), may_be_null=True),
}


def array(items: Sequence[e.Expr], span: Span) -> e.Expr:
    """`ARRAY[…]`."""
    if not items:
        raise sql_error("an empty ARRAY has no type", span)
    bound = together(items, span, "mix")
    element = type_of(bound)
    _check_typed(element, span)
    signature = Signature(("any",), None, "({*})", variadic=True, sees_null=True)
    return e.Call("ARRAY", signature, bound, t.array_type(element))


def map_of(parts: Sequence[e.Expr], span: Span) -> e.Expr:
    """A MAP of keys and values by turns."""
    if not parts or len(parts) % 2:
        raise sql_error("a MAP takes keys and values", span, "for example MAP('a' := 1), or MAP['a', 1]")
    keys = [coerce_to_text(key, span) for key in parts[::2]]
    found = together(parts[1::2], span, "mix")
    _check_typed(type_of(found), span)
    flat = tuple(part for pair in zip(keys, found, strict=True) for part in pair)
    fails = any(key.nullable for key in keys)
    signature = Signature(("any",), None, "make_map({*})", (make_map,), variadic=True, sees_null=True, fails=fails)
    return e.Call("MAP", signature, flat, t.map_type(type_of(found)))


def struct(fields: Sequence[tuple[str, e.Expr]], span: Span) -> e.Expr:
    """`STRUCT(a := 1, …)`, `ROW(1, …)`."""
    seen: set[str] = set()
    for name, value in fields:
        if name.lower() in seen:
            raise sql_error(f"two fields are named `{name}`", span)
        seen.add(name.lower())
        _check_typed(value.type, span)
    if not fields:
        raise sql_error("a STRUCT needs a field", span)
    return e.MakeStruct(tuple(value for _, value in fields), t.struct_type(*((n, v.type) for n, v in fields)))


def _check_typed(type_: t.Type, span: Span) -> None:
    if type_.kind is t.Kind.NULL:
        raise sql_error("NULL alone has no type", span, "CAST it to one")
    if not type_.is_storable:
        raise sql_error(f"{type_} cannot be part of a value", span)


def field(operand: e.Expr, name: s.Identifier, span: Span) -> e.Expr:
    """A field of a STRUCT, or of an object in JSON."""
    if operand.type.kind is t.Kind.JSON:
        return json_access("->", operand, e.Literal(name.text, t.VARCHAR), span)
    if operand.type.kind is not t.Kind.STRUCT:
        raise sql_error(f"`{name.text}` is no field: {operand.type} has none", name.span)
    found = [(known, type_) for known, type_ in operand.type.fields if name.matches(known)]
    exact = [(known, type_) for known, type_ in found if known == name.text]
    if not found:
        hint = did_you_mean(name.text, (known for known, _ in operand.type.fields))
        raise sql_error(f"field `{name.text}` does not exist", name.span, hint)
    known, type_ = (exact or found)[0]
    return e.Field(operand, known, type_)


def element(operand: e.Expr, index: e.Expr, span: Span) -> e.Expr:
    """`a[1]` of an ARRAY, `m['k']` of a MAP, either of JSON."""
    match operand.type.kind:
        case t.Kind.ARRAY if index.type.is_integer:
            signature = _ELEMENTS[t.Kind.ARRAY]
        case t.Kind.MAP if index.type.kind is t.Kind.VARCHAR or index.type.is_integer:
            index, signature = coerce_to_text(index, span), _ELEMENTS[t.Kind.MAP]
        case t.Kind.JSON:
            return json_access("->", operand, index, span)
        case t.Kind.ARRAY | t.Kind.MAP:
            wanted = "a position (the first is 1)" if operand.type.kind is t.Kind.ARRAY else "a VARCHAR key"
            raise sql_error(f"{operand.type} takes {wanted} in [ ], found {index.type}", span)
        case t.Kind.STRUCT if isinstance(index, e.Literal) and isinstance(index.value, str):
            return field(operand, s.Identifier(index.value, True, span), span)
        case _:
            raise sql_error(f"[ ] does not take {operand.type}", span, "it takes ARRAY, MAP and JSON")
    assert operand.type.element is not None
    return e.Call("ELEMENT", signature, (operand, index), operand.type.element)


def json_access(operator: str, operand: e.Expr, key: e.Expr, span: Span) -> e.Expr:
    """`->` (JSON) and `->>` (VARCHAR): a field of an object by name, an element of an array by position from 0."""
    if operand.type.kind not in (t.Kind.JSON, t.Kind.VARCHAR):
        raise sql_error(f"`{operator}` takes JSON, found {operand.type}", span)
    if key.type.kind is not t.Kind.VARCHAR and not key.type.is_integer:
        raise sql_error(f"`{operator}` takes a name or a position, found {key.type}", span)
    return e.Call(operator, _JSON_PARTS[operator], (operand, key), t.JSON if operator == "->" else t.VARCHAR)


def coerce_to_text(key: e.Expr, span: Span) -> e.Expr:
    """A key of a MAP."""
    if key.type.kind is t.Kind.NULL:
        return coerce(key, t.VARCHAR, span)
    return cast(key, t.VARCHAR, span)

"""Conversions between types, as templates of generated code. The one table of what CAST does."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from msgspec.structs import astuple

from headrace.sql.runtime import times
from headrace.sql.runtime import values as v
from headrace.sql.runtime.nested import parse_json, text_of_nested, value_of_json
from headrace.sql.types import Kind, Type, struct_class

_TEMPLATES: dict[tuple[Kind, Kind], str] = {
    (Kind.BOOLEAN, Kind.VARCHAR): "text_of_boolean({0})",
    (Kind.BOOLEAN, Kind.INT): "int({0})",
    (Kind.BOOLEAN, Kind.BIGINT): "int({0})",
    (Kind.INT, Kind.BIGINT): "{0}",
    (Kind.INT, Kind.DOUBLE): "float({0})",
    (Kind.INT, Kind.DECIMAL): "decimal_of_integer({0}, {precision}, {scale})",
    (Kind.INT, Kind.VARCHAR): "str({0})",
    (Kind.INT, Kind.BOOLEAN): "({0} != 0)",
    (Kind.BIGINT, Kind.INT): "in_int({0})",
    (Kind.BIGINT, Kind.DOUBLE): "float({0})",
    (Kind.BIGINT, Kind.DECIMAL): "decimal_of_integer({0}, {precision}, {scale})",
    (Kind.BIGINT, Kind.VARCHAR): "str({0})",
    (Kind.BIGINT, Kind.TIMESTAMP): "{0}",
    (Kind.BIGINT, Kind.BOOLEAN): "({0} != 0)",
    (Kind.DOUBLE, Kind.INT): "in_int(integer_of_double({0}))",
    (Kind.DOUBLE, Kind.BIGINT): "in_bigint(integer_of_double({0}))",
    (Kind.DOUBLE, Kind.DECIMAL): "decimal_of_double({0}, {precision}, {scale})",
    (Kind.DOUBLE, Kind.VARCHAR): "text_of_double({0})",
    (Kind.DECIMAL, Kind.INT): "in_int(integer_of_decimal({0}))",
    (Kind.DECIMAL, Kind.BIGINT): "in_bigint(integer_of_decimal({0}))",
    (Kind.DECIMAL, Kind.DOUBLE): "float({0})",
    (Kind.DECIMAL, Kind.DECIMAL): "fit_decimal({0}, {precision}, {scale})",
    (Kind.DECIMAL, Kind.VARCHAR): "text_of_decimal({0})",
    (Kind.VARCHAR, Kind.BOOLEAN): "parse_boolean({0})",
    (Kind.VARCHAR, Kind.INT): "parse_int({0})",
    (Kind.VARCHAR, Kind.BIGINT): "parse_bigint({0})",
    (Kind.VARCHAR, Kind.DOUBLE): "parse_double({0})",
    (Kind.VARCHAR, Kind.DECIMAL): "parse_decimal({0}, {precision}, {scale})",
    (Kind.VARCHAR, Kind.TIMESTAMP): "parse_iso_timestamp({0})",
    (Kind.VARCHAR, Kind.DATE): "parse_iso_date({0})",
    (Kind.TIMESTAMP, Kind.VARCHAR): "text_of_timestamp({0})",
    (Kind.TIMESTAMP, Kind.DATE): "days_of_timestamp({0})",
    (Kind.TIMESTAMP, Kind.BIGINT): "{0}",
    (Kind.VARCHAR, Kind.BYTES): "{0}.encode()",
    (Kind.BYTES, Kind.VARCHAR): "text_of_bytes({0})",
    (Kind.DATE, Kind.VARCHAR): "iso_date({0})",
    (Kind.DATE, Kind.TIMESTAMP): "({0} * DAY_MS)",
    (Kind.VARCHAR, Kind.JSON): "parse_json({0})",
    (Kind.JSON, Kind.VARCHAR): "{0}",
    (Kind.TIMESTAMP, Kind.TIME): "({0} % DAY_MS)",
    (Kind.TIMESTAMP, Kind.TIMESTAMP_LTZ): "{0}",
    (Kind.TIMESTAMP_LTZ, Kind.TIMESTAMP): "{0}",
    (Kind.TIMESTAMP_LTZ, Kind.VARCHAR): "text_of_instant({0})",
    (Kind.TIMESTAMP_LTZ, Kind.DATE): "days_of_timestamp({0})",
    (Kind.TIMESTAMP_LTZ, Kind.TIME): "({0} % DAY_MS)",
    (Kind.TIMESTAMP_LTZ, Kind.BIGINT): "{0}",
    (Kind.BIGINT, Kind.TIMESTAMP_LTZ): "{0}",
    (Kind.DATE, Kind.TIMESTAMP_LTZ): "({0} * DAY_MS)",
    (Kind.VARCHAR, Kind.TIMESTAMP_LTZ): "parse_iso_timestamp({0})",
    (Kind.VARCHAR, Kind.TIME): "parse_iso_time({0})",
    (Kind.TIME, Kind.VARCHAR): "iso_time({0})",
    (Kind.INTERVAL, Kind.VARCHAR): "text_of_interval({0})",
    (Kind.MONTHS, Kind.VARCHAR): "text_of_months({0})",
}
NAMES: dict[str, Any] = {"parse_json": parse_json} | {
    name: getattr(v, name)
    for name in (
        *("text_of_boolean", "text_of_double", "text_of_decimal", "text_of_timestamp", "iso_date", "DAY_MS"),
        *("decimal_of_integer", "decimal_of_double", "fit_decimal", "in_int", "in_bigint", "days_of_timestamp"),
        *("integer_of_double", "integer_of_decimal", "parse_boolean", "parse_int", "parse_bigint", "parse_double"),
        *("parse_decimal", "parse_iso_timestamp", "parse_iso_date", "text_of_bytes"),
    )
}
NAMES |= {
    name: getattr(times, name)
    for name in ("parse_iso_time", "iso_time", "text_of_instant", "text_of_interval", "text_of_months")
}
"""What the templates call."""

_NEVER_FAILS = {"{0}", "float({0})", "int({0})", "str({0})", "({0} != 0)", "({0} * DAY_MS)", "days_of_timestamp({0})"}
_NEVER_FAILS |= {"({0} % DAY_MS)", "iso_time({0})", "text_of_interval({0})", "text_of_months({0})"}
_NEVER_FAILS |= {"{0}.encode()"}
_NEVER_FAILS |= {f"text_of_{name}({{0}})" for name in ("boolean", "double", "decimal")}


def is_castable(source: Type, target: Type) -> bool:
    """Whether CAST has a meaning: by the table; of nested values part by part, or as the text of their JSON."""
    if source == target:
        return True
    if target.kind is Kind.JSON:
        return source.is_storable
    if source.kind is Kind.JSON:
        return target.is_storable
    if source.element is not None and target.element is not None:
        return source.kind is target.kind and is_castable(source.element, target.element)
    if source.fields and target.fields:
        return len(source.fields) == len(target.fields) and all(
            is_castable(mine, theirs) for (_, mine), (_, theirs) in zip(source.fields, target.fields, strict=True)
        )
    if source.element is not None or source.fields:
        return target.kind is Kind.VARCHAR
    return (source.kind, target.kind) in _TEMPLATES


def is_nested_cast(source: Type, target: Type) -> bool:
    """Whether the conversion goes through the parts of a value, or its JSON: by a function, not by a template."""
    if Kind.JSON in (source.kind, target.kind) and Kind.VARCHAR not in (source.kind, target.kind):
        return True
    return any(type_.element is not None or type_.fields for type_ in (source, target))


def cast_template(source: Type, target: Type) -> str:
    """Generated code of a conversion, the operand in place of {0}."""
    template = _TEMPLATES[source.kind, target.kind]
    return template.replace("{precision}", str(target.precision)).replace("{scale}", str(target.scale))


def cast_fails(source: Type, target: Type) -> bool:
    """Whether the conversion may raise RecordError."""
    if is_nested_cast(source, target):
        return True
    return _TEMPLATES[source.kind, target.kind] not in _NEVER_FAILS


@lru_cache(maxsize=1000)
def converter(source: Type, target: Type) -> Callable[[Any], Any]:
    """The conversion as a function of one value (what constants are folded with)."""
    if is_nested_cast(source, target):
        return _nested_converter(source, target)
    code = f"lambda value: {cast_template(source, target).replace('{0}', 'value')}"
    return eval(code, dict(NAMES))  # type: ignore[no-any-return]


def _nested_converter(source: Type, target: Type) -> Callable[[Any], Any]:
    if target.kind in (Kind.VARCHAR, Kind.JSON):
        return text_of_nested(source)
    if source.kind is Kind.JSON:
        return value_of_json(target)
    if source.element is not None and target.element is not None:
        part = _of_part(source.element, target.element)
        if source.kind is Kind.ARRAY:
            return lambda value: tuple(map(part, value))
        return lambda value: {key: part(item) for key, item in value.items()}
    make = struct_class(target)
    parts = [_of_part(mine, theirs) for (_, mine), (_, theirs) in zip(source.fields, target.fields, strict=True)]
    return lambda value: make(*[part(item) for part, item in zip(parts, astuple(value), strict=True)])


def _of_part(source: Type, target: Type) -> Callable[[Any], Any]:
    """The conversion of a part that may be NULL."""
    convert = converter(source, target) if source != target else None
    return lambda item: item if item is None or convert is None else convert(item)

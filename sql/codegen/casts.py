"""Conversions between types, as templates of generated code. The one table of what CAST does."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from headrace.sql.runtime import values as v
from headrace.sql.types import Kind, Type

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
    (Kind.DATE, Kind.VARCHAR): "iso_date({0})",
    (Kind.DATE, Kind.TIMESTAMP): "({0} * DAY_MS)",
}
NAMES: dict[str, Any] = {
    name: getattr(v, name)
    for name in (
        *("text_of_boolean", "text_of_double", "text_of_decimal", "text_of_timestamp", "iso_date", "DAY_MS"),
        *("decimal_of_integer", "decimal_of_double", "fit_decimal", "in_int", "in_bigint", "days_of_timestamp"),
        *("integer_of_double", "integer_of_decimal", "parse_boolean", "parse_int", "parse_bigint", "parse_double"),
        *("parse_decimal", "parse_iso_timestamp", "parse_iso_date"),
    )
}
"""What the templates call."""

_NEVER_FAILS = {"{0}", "float({0})", "int({0})", "str({0})", "({0} != 0)", "({0} * DAY_MS)", "days_of_timestamp({0})"}
_NEVER_FAILS |= {f"text_of_{name}({{0}})" for name in ("boolean", "double", "decimal")}


def is_castable(source: Type, target: Type) -> bool:
    return (source.kind, target.kind) in _TEMPLATES


def cast_template(source: Type, target: Type) -> str:
    """Generated code of a conversion, the operand in place of {0}."""
    template = _TEMPLATES[source.kind, target.kind]
    return template.replace("{precision}", str(target.precision)).replace("{scale}", str(target.scale))


def cast_fails(source: Type, target: Type) -> bool:
    """Whether the conversion may raise RecordError."""
    return _TEMPLATES[source.kind, target.kind] not in _NEVER_FAILS


@lru_cache(maxsize=1000)
def converter(source: Type, target: Type) -> Callable[[Any], Any]:
    """The conversion as a function of one value (what constants are folded with)."""
    code = f"lambda value: {cast_template(source, target).replace('{0}', 'value')}"
    return eval(code, dict(NAMES))  # type: ignore[no-any-return]

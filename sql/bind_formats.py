"""Binding of formats: what WITH says of them, and whether columns fit."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.sql import options as o
from headrace.sql import types as t
from headrace.sql.errors import RecordError, Span, sql_error
from headrace.sql.expressions import Column
from headrace.sql.formats import (
    BINARY_KINDS,
    DELIMITERS,
    NAMES,
    NESTED_KINDS,
    RAW_KINDS,
    FormatName,
    ValueFormat,
)
from headrace.sql.runtime.time_format import form_of

_KINDS = {FormatName.BINARY: BINARY_KINDS, FormatName.RAW: RAW_KINDS}


def value_format(options: o.Options) -> ValueFormat:
    """The format of values, with what goes with it."""
    name = NAMES[options.word("format") or "json"]
    delimiter = options.text("value_delimiter")
    if delimiter is not None and name is not FormatName.CSV:
        raise sql_error("`value_delimiter` goes with format = 'csv'", options.entry("value_delimiter").span)
    wrapped = options.word("wrap_single_value")
    if wrapped is not None and name is not FormatName.JSON:
        raise sql_error("`wrap_single_value` goes with format = 'json'", options.entry("wrap_single_value").span)
    if wrapped == "false":
        return ValueFormat(FormatName.JSON_VALUE)
    return ValueFormat(name, "," if delimiter is None else DELIMITERS.get(delimiter.lower(), delimiter))


def time_format(options: o.Options) -> str | None:
    """How times are written as text, where that is given. SqlError where it is no such format."""
    text = options.text("timestamp_format")
    if text is not None:
        try:
            form_of(text)
        except RecordError as error:
            raise sql_error(str(error), options.entry("timestamp_format").value_span) from None
    return text


def check_value(format_: ValueFormat, columns: Sequence[Column], span: Span) -> None:
    """SqlError where values of a format cannot hold the columns."""
    if format_.is_single and len(columns) != 1:
        raise sql_error(
            f"a value of format `{format_.name}` is one column that is not KEY, found {len(columns)}",
            span,
            ", ".join(column.name for column in columns) or None,
        )
    for column in columns:
        kinds = _KINDS.get(format_.name)
        if kinds is not None and column.type.kind not in kinds:
            known = ", ".join(kinds)
            raise sql_error(f"format `{format_.name}` has no {column.type} (`{column.name}`)", span, f"known: {known}")
        if format_.name is FormatName.CSV and column.type.kind in NESTED_KINDS:
            raise sql_error(f"format `csv` has no {column.type} (`{column.name}`)", span, "format = 'json' has")


def check_source_key(key_format: str, keys: Sequence[Column], options: o.Options) -> None:
    """SqlError where record keys of a format cannot hold the KEY columns."""
    if not keys or "key_format" not in options:
        return
    span = options.entry("key_format").value_span
    if key_format == "none":
        raise sql_error(f"key_format `none`: records have no key, and `{keys[0].name}` is KEY", span)
    if key_format == "binary":
        _check_binary_key(tuple(column.type for column in keys), span)


def check_sink_key(key_format: str, keys: Sequence[t.Type] | None, source_format: str | None, span: Span) -> None:
    """SqlError where record keys of a format cannot be those of a query; `keys` None: it keeps those of its source,
    which are of `source_format` (None: nobody has said of which).
    """
    if keys is None:
        if source_format is not None and key_format not in (source_format, "none"):
            raise sql_error(
                f"a query that does not group keeps the keys of its records, which are `{source_format}`", span
            )
        return
    if key_format == "none":
        raise sql_error("key_format `none`: rows of a group have a key", span)
    if key_format == "binary":
        _check_binary_key(keys, span)


def _check_binary_key(types: Sequence[t.Type], span: Span) -> None:
    if len(types) != 1:
        raise sql_error("a key of several columns, or of a window, is JSON: `binary` is for one", span)
    if types[0].kind not in BINARY_KINDS:
        raise sql_error(f"key_format `binary` has no {types[0]}", span, f"known: {', '.join(BINARY_KINDS)}")

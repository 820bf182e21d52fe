"""Values of sink records as bytes: all rows of a batch at once."""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from headrace.sql.formats import FormatName, ValueFormat
from headrace.sql.runtime.binary import pack
from headrace.sql.types import Type

Encode = Callable[[list[Any]], list[bytes | None]]
"""From rows as generated code makes them for a format to values; None is a tombstone."""

_encode_lines = msgspec.json.Encoder(decimal_format="number").encode_lines


def encoder(format_: ValueFormat, types: Sequence[Type]) -> Encode:
    """How rows of a format, with columns of these types, are encoded."""
    match format_.name:
        case FormatName.CSV:
            return lambda rows: encode_csv(rows, format_.delimiter)
        case FormatName.BINARY | FormatName.RAW:
            make = pack(types[0])
            return lambda rows: [None if row is None else make(row) for row in rows]
        case FormatName.JSON | FormatName.JSON_VALUE:
            return encode_json


def encode_json(rows: list[Any]) -> list[bytes | None]:
    values: list[bytes | None] = [*_encode_lines(rows).split(b"\n")]
    values.pop()  # after the last line end
    return [None if value == b"null" else value for value in values] if None in rows else values


def text_of_bytes(value: bytes) -> str:
    """BYTES as text formats write them."""
    return base64.b64encode(value).decode()


class _Lines(list[str]):
    """A file to the writer of CSV, which writes each row by one call."""

    write = list.append


_LINE_END = "\r\n"
"""Fields with a character of it are quoted."""


def encode_csv(rows: list[Any], delimiter: str) -> list[bytes | None]:
    """Rows, as tuples of what can stand in CSV, one line each without its end."""
    lines = _Lines()
    writer = csv.writer(lines, delimiter=delimiter, lineterminator=_LINE_END)
    writer.writerows(rows if None not in rows else [row for row in rows if row is not None])
    values = iter(lines)
    return [None if row is None else next(values)[: -len(_LINE_END)].encode() for row in rows]

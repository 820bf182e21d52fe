"""Decoding of CSV: fields by their place, all records of a batch by one pass of the csv module."""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from headrace.sql.errors import RecordError
from headrace.sql.runtime.columns import DecodedColumn
from headrace.sql.runtime.decoder import Seen, SourceDecoder
from headrace.sql.runtime.record_keys import parse_text
from headrace.sql.types import Kind


class DelimitedDecoder(SourceDecoder):
    """Decodes values of CSV. `fields` are all declared columns of the value in order, each with whether it is KEY.

    A value has all of them, or all but the KEY columns; an empty field is NULL.
    """

    def __init__(
        self,
        columns: Sequence[DecodedColumn],
        consumers: Sequence[frozenset[str]],
        time_column: str | None,
        time_format: str | None,
        key_format: str,
        fields: Sequence[tuple[str, bool]],
        delimiter: str,
    ) -> None:
        every = {name: place for place, (name, _) in enumerate(fields)}
        unkeyed = {name: place for place, name in enumerate(name for name, is_key in fields if not is_key)}
        self._places = {len(unkeyed): unkeyed, len(every): every}
        self._delimiter = delimiter
        super().__init__(columns, consumers, time_column, time_format, key_format)

    def _prepare(self) -> None:
        attributes = [c.attribute for c in (*self._columns, *self._parts.columns)]
        self._struct = msgspec.defstruct("Row", [(name, Any, None) for name in attributes], gc=False)
        self._parsers = {column.name: _parser(column) for column in self._columns}

    def _rows_together(self, values: Sequence[bytes | None]) -> list[Any] | None:
        try:
            texts = [value.decode() for value in values]  # type: ignore[union-attr]
            table = list(csv.reader(texts, delimiter=self._delimiter, strict=True))
        except (UnicodeDecodeError, csv.Error, AttributeError):
            return None
        widths = set(map(len, table))
        if len(table) != len(values) or len(widths) != 1:
            return None
        places = self._places.get(widths.pop())
        if places is None:
            return None
        fields = list(zip(*table, strict=True))
        filled: list[Sequence[Any]] = []
        for column in self._columns:
            place = places.get(column.name)
            if place is None:
                filled.append([None] * len(table))
                continue
            parse = self._parsers[column.name]
            try:
                parsed = [parse(text) if text else None for text in fields[place]]
            except RecordError:
                return None
            if not column.nullable and not column.key and None in parsed:
                return None
            filled.append(parsed)
        return list(map(self._struct, *filled)) if filled else [self._struct() for _ in table]

    def _read(  # nothing that is seen of one record says how to read another
        self,
        value: bytes | None,
        seen: Seen,  # noqa: ARG002
    ) -> tuple[dict[str, Any], dict[str, RecordError]]:
        if value is None:
            raise RecordError("tombstone", "the value is null (a tombstone), and a stream has no rows to delete")
        try:
            (row,) = csv.reader([value.decode()], delimiter=self._delimiter, strict=True)
        except (UnicodeDecodeError, csv.Error) as error:
            raise RecordError("malformed", f"not CSV: {error}") from None
        row = row or [""]  # an empty line is one empty field
        places = self._places.get(len(row))
        if places is None:
            wanted = " or ".join(map(str, sorted(self._places)))
            raise RecordError("malformed", f"not CSV of {wanted} fields: it has {len(row)}")
        found: dict[str, Any] = {}
        faults: dict[str, RecordError] = {}
        for column in self._columns:
            place = places.get(column.name)
            text = "" if place is None else row[place]
            found[column.name] = None
            try:
                found[column.name] = self._parsers[column.name](text) if text else None
            except RecordError as error:
                faults[column.name] = RecordError("type", f"column `{column.name}` ({column.type}): {error}")
        return found, faults

    def _learn(self, seen: Seen) -> None:
        """Every record is of one form."""


def _parser(column: DecodedColumn) -> Callable[[str], Any]:
    """How the text of a field becomes a value. RecordError where it is none."""
    if column.type.kind is Kind.VARCHAR:
        return str
    if column.type.kind is Kind.BYTES:
        return _bytes

    def parse(text: str) -> Any:
        value = parse_text(column, text)
        if column.unsigned and value < 0:
            raise RecordError("type", f"{value} is negative")
        return value

    return parse


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RecordError("type", f"not base64: {error}") from None

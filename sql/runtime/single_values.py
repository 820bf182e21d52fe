"""Decoding of values that are one column: binary, raw, or JSON that is no object of columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from headrace.sql.errors import RecordError
from headrace.sql.formats import FormatName
from headrace.sql.runtime.binary import unpack
from headrace.sql.runtime.columns import DecodedColumn
from headrace.sql.runtime.decoder import Seen, SourceDecoder
from headrace.sql.runtime.record_keys import from_json


class SingleValueDecoder(SourceDecoder):
    """Decodes values that are the one column that is not KEY."""

    def __init__(
        self,
        columns: Sequence[DecodedColumn],
        consumers: Sequence[frozenset[str]],
        time_column: str | None,
        time_format: str | None,
        key_format: str,
        format_: FormatName,
    ) -> None:
        self._format = format_
        super().__init__(columns, consumers, time_column, time_format, key_format)

    def _prepare(self) -> None:
        attributes = [c.attribute for c in (*self._columns, *self._parts.columns)]
        self._struct = msgspec.defstruct("Row", [(name, Any, None) for name in attributes], gc=False)
        self._value = next((column for column in self._columns if not column.key), None)
        self._parse = _parser(self._format, self._value) if self._value is not None else None

    def _rows_together(self, values: Sequence[bytes | None]) -> list[Any] | None:
        if None in values:
            return None
        rows = [self._struct() for _ in values]
        if self._parse is None or self._value is None:
            return rows
        try:
            for row, value in zip(rows, values, strict=True):
                parsed = self._parse(value)
                if parsed is None and not self._value.nullable:
                    return None
                setattr(row, self._value.attribute, parsed)
        except RecordError:
            return None
        return rows

    def _read(  # nothing that is seen of one record says how to read another
        self,
        value: bytes | None,
        seen: Seen,  # noqa: ARG002
    ) -> tuple[dict[str, Any], dict[str, RecordError]]:
        if value is None:
            raise RecordError("tombstone", "the value is null (a tombstone), and a stream has no rows to delete")
        found: dict[str, Any] = dict.fromkeys((column.name for column in self._columns), None)
        faults: dict[str, RecordError] = {}
        if self._parse is not None and self._value is not None:
            column = self._value
            try:
                found[column.name] = self._parse(value)
            except RecordError as error:
                faults[column.name] = RecordError("type", f"column `{column.name}` ({column.type}): {error}")
        return found, faults

    def _learn(self, seen: Seen) -> None:
        """Every record is of one form."""


def _parser(format_: FormatName, column: DecodedColumn) -> Callable[[Any], Any]:
    """How bytes become the column's value. RecordError where they are none."""
    read = unpack(column.type) if format_ is not FormatName.JSON_VALUE else _json_reader(column)
    if not column.unsigned:
        return read

    def parse(data: Any) -> Any:
        value = read(data)
        if value is not None and value < 0:
            raise RecordError("type", f"{value} is negative")
        return value

    return parse


def _json_reader(column: DecodedColumn) -> Callable[[Any], Any]:
    def read(data: bytes) -> Any:
        try:
            return None if data.strip() == b"null" else from_json(column, data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordError("type", str(error)) from None
        except RecursionError:
            raise RecordError("type", "nested too deeply") from None

    return read

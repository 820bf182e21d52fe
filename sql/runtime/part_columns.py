"""Columns that hold parts of a record other than its value: filled into rows that were decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from headrace.sql.errors import RecordError
from headrace.sql.record_parts import LISTED_HEADERS, Part
from headrace.sql.runtime.columns import DecodedColumn
from headrace.sql.runtime.records import Headers, RecordBatch
from headrace.sql.types import Kind, struct_class


class PartReader:
    """Fills the columns that hold parts of records; those that nobody uses are not among them."""

    def __init__(self, columns: Sequence[DecodedColumn]) -> None:
        self.columns = tuple(columns)

    def fill(self, rows: Sequence[Any], batch: RecordBatch, times: Sequence[int]) -> bool:
        """Put the columns into the rows of all records; False where a record needs a closer look."""
        for column in self.columns:
            try:
                values = _values(column, batch, times)
            except RecordError:
                return False
            if None in values and not column.nullable:
                return False
            deque(map(getattr(type(rows[0]), column.attribute).__set__, rows, values), maxlen=0)
        return True

    def fill_one(self, row: Any, batch: RecordBatch, position: int, time: int) -> dict[str, RecordError]:
        """Put the columns into the row of one record; what is wrong, by column."""
        faults: dict[str, RecordError] = {}
        for column in self.columns:
            try:
                value = _value(column, batch, position, time)
                if value is None and not column.nullable:
                    raise RecordError("null", f"column `{column.name}` is NOT NULL, the record has NULL")
                setattr(row, column.attribute, value)
            except RecordError as error:
                faults[column.name] = error
        return faults


def _values(column: DecodedColumn, batch: RecordBatch, times: Sequence[int]) -> Sequence[Any]:
    """The values of a column for all records of a batch."""
    assert column.part is not None
    match column.part.part:
        case Part.KEY:
            return [_key_text(key) for key in batch.keys]
        case Part.TIMESTAMP:
            return batch.timestamps
        case Part.TIME:
            return times
        case Part.PARTITION:
            return [batch.partition] * len(times)
        case Part.OFFSET:
            return batch.offsets
        case Part.TOPIC:
            return [batch.topic] * len(times)
        case Part.HEADERS:
            return [_headers(column, headers) for headers in batch.headers]
        case Part.HEADER:
            return [_header(column, headers) for headers in batch.headers]


def _value(column: DecodedColumn, batch: RecordBatch, position: int, time: int) -> Any:
    """The value of a column for one record."""
    assert column.part is not None
    match column.part.part:
        case Part.KEY:
            return _key_text(batch.keys[position])
        case Part.TIMESTAMP:
            return batch.timestamps[position]
        case Part.TIME:
            return time
        case Part.PARTITION:
            return batch.partition
        case Part.OFFSET:
            return batch.offsets[position]
        case Part.TOPIC:
            return batch.topic
        case Part.HEADERS:
            return _headers(column, batch.headers[position])
        case Part.HEADER:
            return _header(column, batch.headers[position])


def _key_text(key: bytes | None) -> str | None:
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        raise RecordError("key", "the record key is not UTF-8") from None


def _headers(column: DecodedColumn, headers: Headers) -> Any:
    """All headers: as ksqlDB lists them, or by name, the last of each."""
    if column.type == LISTED_HEADERS:
        header = struct_class(LISTED_HEADERS.element)
        return tuple(header(name, value) for name, value in headers)
    return dict(headers)


def _header(column: DecodedColumn, headers: Headers) -> str | bytes | None:
    """The last header of the column's name."""
    assert column.part is not None
    value = next((value for name, value in reversed(headers) if name == column.part.header), None)
    if value is None or column.type.kind is Kind.BYTES:
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise RecordError("header", f"the header `{column.part.header}` is not UTF-8") from None

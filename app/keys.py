"""Keys of sink records as people and Python read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headrace.app.values import shown
from headrace.sql.errors import RecordError
from headrace.sql.plan import Query, key_parts, scans_of
from headrace.sql.runtime.binary import unpack
from headrace.sql.types import Kind, Type

_NUMBERS = (
    *(Kind.INT, Kind.BIGINT, Kind.DOUBLE, Kind.DECIMAL, Kind.BOOLEAN),
    *(Kind.TIMESTAMP, Kind.TIMESTAMP_LTZ, Kind.INTERVAL),
)


class KeyReader:
    """Reads the record keys of one query's sink: numbers as numbers, several columns as a dict, the rest as text."""

    def __init__(self, query: Query) -> None:
        self._is_json = query.sink.key_format == "json"
        self._unpack: Callable[[bytes], Any] | None = None
        parts = key_parts(query.node)
        types: list[Type]
        if parts is not None:
            types = [type_ for _, type_ in parts]
            self._is_json = self._is_json or len(types) != 1
        else:
            columns = [column for column in scans_of(query.node)[0].source.columns if column.key]
            types = [column.column.type for column in columns]
            self._is_json = self._is_json or len(types) > 1
        key_format = query.sink.key_format if parts is not None else scans_of(query.node)[0].source.key_format
        if key_format == "binary" and len(types) == 1:
            self._unpack = unpack(types[0])
        formatted = query.sink.timestamp_format is not None
        self._is_number = (
            len(types) == 1
            and types[0].kind in _NUMBERS
            and not (types[0].kind in (Kind.TIMESTAMP, Kind.TIMESTAMP_LTZ) and formatted and parts is not None)
        )

    def read(self, key: bytes | None) -> Any:
        if key is None:
            return None
        if self._unpack is not None and not key.startswith(b'{"'):
            try:
                return shown(self._unpack(key))
            except RecordError:
                return shown(key)
        if self._is_json or self._is_number or key.startswith(b'{"'):
            try:
                return _without_null(msgspec.json.decode(key))
            except (msgspec.DecodeError, RecursionError):
                pass
        return key.decode(errors="replace")


def _without_null(key: Any) -> Any:
    """The object that stands for a NULL key of one column, as None."""
    if isinstance(key, dict) and len(key) == 1 and next(iter(key.values())) is None:
        return None
    return key

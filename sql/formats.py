"""Forms in which the values of records are read and written."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from headrace.sql.types import Kind


class FormatName(StrEnum):
    """A form of values. In those of a single value, one column is the whole of it."""

    JSON = "json"
    JSON_VALUE = "json value"
    CSV = "csv"
    BINARY = "binary"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class ValueFormat:
    """How the values of a topic are written."""

    name: FormatName
    delimiter: str = ","
    """What stands between two fields of CSV."""

    @property
    def is_single(self) -> bool:
        """Whether one column is the whole value."""
        return self.name in (FormatName.JSON_VALUE, FormatName.BINARY, FormatName.RAW)


JSON = ValueFormat(FormatName.JSON)
NAMES = {
    "json": FormatName.JSON,
    "csv": FormatName.CSV,
    "delimited": FormatName.CSV,
    "binary": FormatName.BINARY,
    "kafka": FormatName.BINARY,
    "raw": FormatName.RAW,
}
DELIMITERS = {"space": " ", "tab": "\t"}
"""Delimiters that ksqlDB has names for."""
BINARY_KINDS = (Kind.INT, Kind.BIGINT, Kind.DOUBLE, Kind.VARCHAR, Kind.BYTES)
RAW_KINDS = (Kind.VARCHAR, Kind.BYTES)
NESTED_KINDS = (Kind.ARRAY, Kind.MAP, Kind.STRUCT)

"""What came out of one sink, as a test sees it: rows with their key columns, JSON values with all their digits."""

from __future__ import annotations

import csv
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.app.application import App
from headrace.app.local import OutputRecord
from headrace.app.testing.compare import exact_json
from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql.errors import did_you_mean
from headrace.sql.formats import JSON, FormatName
from headrace.sql.types import Kind


@dataclass(frozen=True, slots=True)
class SinkView:
    """A sink of an app: its columns, those of its key, and its records as rows of both."""

    query: p.Query
    columns: tuple[e.Column, ...] = field(init=False)
    """Columns of the rows; then those that stand in the key alone."""
    keys: tuple[e.Column, ...] = field(init=False)

    def __post_init__(self) -> None:
        columns = self.query.node.columns
        keys = tuple(_key_columns(self.query))
        names = {column.name for column in columns}
        object.__setattr__(self, "columns", (*columns, *(key for key in keys if key.name not in names)))
        object.__setattr__(self, "keys", keys)

    @property
    def wide_query(self) -> p.Query:
        """The query with all columns in the value."""
        items = tuple((column.name, column) for column in self.columns)
        sink = replace(self.query.sink, key_in_value=True, value_format=JSON)
        return replace(self.query, node=p.Project(self.query.node, items), sink=sink)

    def key(self, record: OutputRecord) -> dict[str, Any]:
        """The key columns of a record."""
        if isinstance(record.key, dict):
            return record.key
        return {self.keys[0].name: record.key} if self.keys else {}

    def row(self, record: OutputRecord) -> dict[str, Any] | None:
        """All columns of a record; None for a tombstone."""
        if record.raw_value is None:
            return None
        return {**self.key(record), **self._value(record.raw_value, record)}

    def _value(self, raw: bytes, record: OutputRecord) -> dict[str, Any]:
        """The columns of a value, as JSON has them."""
        form = self.query.sink.value_format
        columns = p.value_columns(self.query.node, self.query.sink)
        if form.is_single:
            value = exact_json(raw) if record.is_json else record.value
            return {columns[0].name: b64encode(value).decode() if isinstance(value, bytes) else value}
        if form.name is FormatName.CSV:
            (fields,) = csv.reader([raw.decode()], delimiter=form.delimiter)
            return {column.name: _of_text(text, column) for column, text in zip(columns, fields, strict=True)}
        found: dict[str, Any] = exact_json(raw)
        return found


def _of_text(text: str, column: e.Column) -> Any:
    """What JSON has in place of a field of CSV."""
    is_time = column.type.kind is Kind.TIMESTAMP and text.lstrip("-").isdigit()
    if text and (is_time or column.type.is_numeric or column.type.kind is Kind.BOOLEAN):
        return exact_json(text)
    return text or None


def _key_columns(query: p.Query) -> Iterator[e.Column]:
    parts = p.key_parts(query.node)
    if parts is not None:
        for name, (_, type_) in zip(query.sink.key_columns or (), parts, strict=True):
            yield e.Column(name, type_, True)
        return
    kept = p.kept_keys(query.node)
    yield from (column for column in query.node.columns if column.name in kept)


def sinks_of(app: App) -> dict[str, SinkView]:
    """The sinks of an app by their names in lower case."""
    views: dict[str, SinkView] = {}
    for query in app.logical.queries:
        views.setdefault(query.sink.name.lower(), SinkView(query))
    return views


def no_such_sink(name: str, views: dict[str, SinkView]) -> tuple[str, str | None]:
    """Message and hint for a name that no query writes."""
    return f"`{name}` is no sink of the app", did_you_mean(name, (view.query.sink.name for view in views.values()))

"""What came out of one sink, as a test sees it: rows with their key columns, JSON values with all their digits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.app.application import App
from headrace.app.local import OutputRecord
from headrace.app.testing.compare import exact_json
from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql.errors import did_you_mean


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
        sink = replace(self.query.sink, key_in_value=True)
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
        return {**self.key(record), **exact_json(record.raw_value)}


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

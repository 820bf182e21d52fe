"""ASSERT statements, checked against what came out of an app."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from headrace.app.application import App
from headrace.app.local import LocalResult, OutputRecord
from headrace.app.testing.cases import UnmetError
from headrace.app.testing.compare import dead_letters_shown, difference, exact_json, is_same, shown
from headrace.app.testing.sinks import SinkView, no_such_sink, sinks_of
from headrace.sql import expressions as e
from headrace.sql import options as o
from headrace.sql import syntax as s
from headrace.sql.codegen.constants import RowEncoder
from headrace.sql.errors import sql_error
from headrace.sql.inserts import RECORD_TIME, constants, written_columns
from headrace.sql.plan import WINDOW_END, WINDOW_START

_KSQLDB_NAMES = {"windowstart": WINDOW_START, "windowend": WINDOW_END}
_COMPARED = ("topic", "format", "key_format", "partitions", "replicas")
"""Options that ASSERT STREAM and ASSERT TABLE can speak of."""


class Assertions:
    """Checks the ASSERTs of a case one after the other. Each record of a sink is read once."""

    def __init__(self, app: App) -> None:
        self._sinks = sinks_of(app)
        self._read: Counter[str] = Counter()

    def check(self, statement: s.Assertion, result: LocalResult) -> None:
        """UnmetError where it does not hold; SqlError where it cannot be meant."""
        match statement:
            case s.AssertValues():
                self._check_values(statement, result)
            case s.AssertTombstones():
                self._check_tombstones(statement, result)
            case s.AssertRelation():
                self._check_relation(statement.wanted)

    def _sink(self, name: s.Identifier) -> SinkView:
        view = self._sinks.get(name.text.lower())
        if view is None:
            message, hint = no_such_sink(name.text, self._sinks)
            raise sql_error(message, name.span, hint)
        return view

    def _next(self, sink: str, result: LocalResult, expected: str) -> OutputRecord:
        records = [record for record in result.records if record.sink == sink]
        number = self._read[sink]
        if number >= len(records):
            raise UnmetError(
                f"`{sink}` has no record {number + 1}\n  expected {expected}{dead_letters_shown(result.dead_letters)}"
            )
        self._read[sink] += 1
        return records[number]

    def _check_values(self, statement: s.AssertValues, result: LocalResult) -> None:
        view = self._sink(statement.target)
        fields = written_columns(_window_names(statement.columns, view), view.columns, statement.target)
        if statement.columns is None:
            fields = tuple(view.query.node.columns)
        for row in statement.rows:
            expected = _expected_row(view, fields, row)
            record = self._next(view.query.sink.name, result, shown(expected))
            actual = view.row(record)
            if actual is not None and RECORD_TIME in fields:
                actual = {RECORD_TIME.name: record.timestamp, **actual}
            self._compare(view, expected, actual, result)

    def _check_tombstones(self, statement: s.AssertTombstones, result: LocalResult) -> None:
        view = self._sink(statement.target)
        fields = view.keys
        if statement.columns is not None:
            fields = written_columns(_window_names(statement.columns, view), (*view.keys,), statement.target)
        for row in statement.rows:
            expected = {
                name: value for name, value in _expected_row(view, fields, row).items() if name in _names(fields)
            }
            record = self._next(view.query.sink.name, result, f"the tombstone of {shown(expected)}")
            if record.value is not None:
                number = self._read[record.sink]
                text = difference(f"the tombstone of {shown(expected)}", shown(view.row(record)))
                raise UnmetError(f"record {number} of `{record.sink}` differs\n{text}")
            key = {name: view.key(record).get(name) for name in expected if name != RECORD_TIME.name}
            if RECORD_TIME in fields:
                key = {RECORD_TIME.name: record.timestamp, **key}
            self._compare(view, expected, key, result)

    def _compare(
        self, view: SinkView, expected: dict[str, Any], actual: dict[str, Any] | None, result: LocalResult
    ) -> None:
        types = {column.name: column.type for column in view.columns}
        if actual is not None and all(
            is_same(value, actual.get(name), types.get(name)) for name, value in expected.items()
        ):
            return
        name = view.query.sink.name
        got = "a tombstone" if actual is None else shown({name: actual.get(name) for name in expected})
        text = difference(shown(expected), got)
        raise UnmetError(
            f"record {self._read[name]} of `{name}` differs\n{text}{dead_letters_shown(result.dead_letters)}"
        )

    # Schemas

    def _check_relation(self, wanted: s.CreateRelation) -> None:
        view = self._sink(wanted.name)
        sink = view.query.sink
        options = o.Options(wanted.options, _COMPARED, "option of ASSERT")
        _must_be(f"`{sink.name}`", wanted.kind, sink.kind)
        actual_options = {
            "topic": sink.topic,
            "format": "json",
            "key_format": sink.key_format,
            "partitions": sink.partitions,
            "replicas": sink.replicas,
        }
        for name, actual in actual_options.items():
            if name in options:
                value = options.text(name) if name == "topic" else options.word(name)
                _must_be(f"`{name}` of `{sink.name}`", value, None if actual is None else str(actual))
        if wanted.columns:
            keys = _names(view.keys)
            expected = sorted(_column_text(c.name.text, str(c.type), c.key) for c in wanted.columns)
            actual_columns = sorted(_column_text(c.name, str(c.type), c.name in keys) for c in view.query.node.columns)
            if [text.lower() for text in expected] != [text.lower() for text in actual_columns]:
                text = difference(", ".join(expected), ", ".join(actual_columns))
                raise UnmetError(f"columns of `{sink.name}` differ\n{text}")


def _column_text(name: str, type_: str, key: object) -> str:
    return f"{name} {type_} KEY" if key else f"{name} {type_}"


def _must_be(what: str, expected: object, actual: object) -> None:
    if expected != actual:
        raise UnmetError(f"{what}: expected {expected}, got {actual}")


def _names(columns: Sequence[e.Column]) -> set[str]:
    return {column.name for column in columns}


def _window_names(names: tuple[s.Identifier, ...] | None, view: SinkView) -> tuple[s.Identifier, ...] | None:
    """ksqlDB's names of the window's bounds as the key has them, where no column is called so."""
    if names is None:
        return None
    known = {column.name.lower() for column in view.columns}
    return tuple(
        replace(name, text=_KSQLDB_NAMES.get(name.text.lower(), name.text)) if name.text.lower() not in known else name
        for name in names
    )


def _expected_row(view: SinkView, fields: Sequence[e.Column], row: s.ValuesRow) -> dict[str, Any]:
    """What a row of ASSERT stands for, as the sink would write it; columns that are not named are NULL."""
    given = dict(zip(fields, constants(row, fields), strict=True))
    encoded = exact_json(RowEncoder(view.wide_query).encode([given.get(column) for column in view.columns]))
    compared = _names(view.query.node.columns) | _names(fields)
    expected = {name: value for name, value in encoded.items() if name in compared}
    return {RECORD_TIME.name: given[RECORD_TIME], **expected} if RECORD_TIME in given else expected

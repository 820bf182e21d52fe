"""What an app gave out, in a form in which two runs can be compared."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Protocol

from tests.property.generators import AppCase, Sink
from tests.property.replay import Emitted

Row = Mapping[str, Any]
BY_ARRIVAL = ("distinct", "table_by_arrival")
"""Kinds of sinks whose timestamps tell which of several rows came first."""


class Run(Protocol):
    """A run that gave something out."""

    @property
    def emitted(self) -> list[Emitted]: ...


def read_row(value: bytes, sink: Sink) -> Row:
    """A value as it stands in JSON: whole numbers as int, others exact, those of DOUBLE columns as float."""
    row = json.loads(value, parse_float=Decimal)
    return {n: float(v) if n in sink.doubles and isinstance(v, (int, Decimal)) else v for n, v in row.items()}


def of_sink(emitted: Iterable[Emitted], sink: Sink) -> list[Emitted]:
    return [record for record in emitted if record.topic == sink.topic]


def final_contents(emitted: Iterable[Emitted], sink: Sink) -> dict[bytes | None, tuple[Row, int]]:
    """The last value and timestamp of each key that is not deleted."""
    last = {record.key: record for record in of_sink(emitted, sink)}
    return {key: (read_row(r.value, sink), r.timestamp) for key, r in last.items() if r.value is not None}


def same_value(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-6)
    return bool(left == right)


def same_row(left: Row, right: Row) -> bool:
    return list(left) == list(right) and all(same_value(left[name], right[name]) for name in left)


def assert_same_sinks(case: AppCase, reference: Run, other: Run, *, repeats: bool) -> None:
    """The same contents of every sink; `repeats`: what was given out since a commit may be there again."""
    for sink in case.sinks:
        ours, theirs = of_sink(reference.emitted, sink), of_sink(other.emitted, sink)
        if sink.kind == "stream":
            expected, found = Counter(_plain(ours)), Counter(_plain(theirs))
            if repeats:
                assert set(expected) == set(found), sink
            else:
                assert expected == found, sink
            continue
        if sink.kind in ("final", "distinct"):
            assert all(record.value is not None for record in theirs), f"{sink}: a tombstone under EMIT FINAL"
            if repeats:
                assert_repeats_are_equal(theirs, sink)
            else:
                assert max(Counter(r.key for r in theirs).values(), default=1) == 1, f"{sink}: a result came twice"
        expected_rows, found_rows = final_contents(ours, sink), final_contents(theirs, sink)
        assert set(expected_rows) == set(found_rows), sink
        for key, (row, timestamp) in expected_rows.items():
            found_row, found_timestamp = found_rows[key]
            assert same_row(row, found_row), (sink.topic, key, row, found_row)
            if sink.kind not in BY_ARRIVAL:
                assert timestamp == found_timestamp, (sink.topic, key, row)


def assert_repeats_are_equal(emitted: Iterable[Emitted], sink: Sink) -> None:
    """Whatever was given out again under EMIT FINAL says the same again."""
    first: dict[bytes | None, Row] = {}
    for record in emitted:
        assert record.value is not None
        row = read_row(record.value, sink)
        assert same_row(first.setdefault(record.key, row), row), (sink.topic, record.key, first[record.key], row)


def _plain(emitted: Iterable[Emitted]) -> list[tuple[Any, ...]]:
    return [(r.key, r.value, r.timestamp, tuple(r.headers)) for r in emitted]


def bad_records(run: Run) -> Counter[tuple[str, ...]]:
    """Dead letters that are records of the source: query, class, partition, offset."""
    found: Counter[tuple[str, ...]] = Counter()
    for record in run.emitted:
        headers = {name: value.decode() for name, value in record.headers if name.startswith("headrace.error")}
        if "headrace.error.offset" in headers:
            names = ("query", "class", "partition", "offset")
            found[tuple(headers[f"headrace.error.{name}"] for name in names)] += 1
    return found


def bad_results(run: Run) -> Counter[tuple[Any, ...]]:
    """Dead letters that are result rows: query, class, group."""
    found: Counter[tuple[Any, ...]] = Counter()
    for record in run.emitted:
        headers = {name: value.decode() for name, value in record.headers if name.startswith("headrace.error")}
        if headers and "headrace.error.offset" not in headers:
            found[headers["headrace.error.query"], headers["headrace.error.class"], record.key] += 1
    return found

"""What a YAML test expects, checked against the result of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headrace.app.errors import InputError
from headrace.app.local import LocalResult, OutputRecord
from headrace.app.testing.cases import UnmetError
from headrace.app.testing.compare import (
    dead_letters_shown,
    difference,
    in_any_order,
    is_same,
    letter_text,
    shown,
)
from headrace.app.testing.schema import Entry, Letter, Numbers, record_of
from headrace.app.testing.sinks import SinkView
from headrace.sql.errors import did_you_mean

ExpectedRecord = dict[str, Any]
"""A record as far as an entry speaks of it: `value`, and perhaps `key`, `timestamp`, `partition`, `headers`."""


def expected_record(view: SinkView, entry: Entry, place: str) -> ExpectedRecord:
    """An entry as a record with all columns of the sink; what a row leaves out is NULL.

    InputError for a name that is none of its columns.
    """
    record = dict(record_of(entry, place))
    if record["value"] is not None:
        record["value"] = _row(view, record["value"], place)
    return record


def _row(view: SinkView, row: Mapping[str, Any], place: str) -> dict[str, Any]:
    in_value = [column.name for column in view.query.node.columns]
    names = [column.name for column in view.columns]
    given: dict[str, Any] = {}
    for name, value in row.items():
        column = name if name in names else next((known for known in names if known.lower() == name.lower()), None)
        if column is None:
            raise InputError(f"{place}: `{view.query.sink.name}` has no column `{name}`", did_you_mean(name, names))
        given[column] = value
    return {name: given.get(name) for name in names if name in in_value or name in given}


def check_records(view: SinkView, expected: Sequence[ExpectedRecord], result: LocalResult, *, one_order: bool) -> None:
    """The records of a sink are these: in order, where there is but one. UnmetError where they are not."""
    name = view.query.sink.name
    records = [record for record in result.records if record.sink == name]
    _check(view, expected, records, f"`{name}`", result, one_order=one_order)


def check_final(view: SinkView, expected: Sequence[ExpectedRecord], result: LocalResult) -> None:
    """The last records of all keys that were not deleted are these, in any order."""
    name = view.query.sink.name
    last: dict[str, OutputRecord] = {}
    for record in result.records:
        if record.sink == name:
            last[shown(record.key)] = record
    kept = [record for record in last.values() if record.value is not None]
    _check(view, expected, kept, f"final `{name}`", result, one_order=False)


def _check(
    view: SinkView,
    expected: Sequence[ExpectedRecord],
    records: Sequence[OutputRecord],
    what: str,
    result: LocalResult,
    *,
    one_order: bool,
) -> None:
    parts = set().union(*expected) if expected else {"value"}
    actual = [_actual(view, record, parts) for record in records]
    if not one_order:
        expected, actual = _paired(view, expected, actual)
    for number, (one, other) in enumerate(zip(expected, actual, strict=False), 1):
        if not _is_same(view, one, other):
            text = difference(_shown(one), _shown({part: other[part] for part in one}))
            raise UnmetError(f"{what}: record {number} differs\n{text}{dead_letters_shown(result.dead_letters)}")
    if len(expected) != len(actual):
        missing, extra = expected[len(actual) :], actual[len(expected) :]
        lines = [f"\n  expected {_shown(record)}" for record in missing]
        lines += [f"\n  got      {_shown(record)}" for record in extra]
        raise UnmetError(
            f"{what}: expected {len(expected)} records, got {len(actual)}"
            f"{''.join(lines[:10])}{dead_letters_shown(result.dead_letters)}"
        )


def _paired(
    view: SinkView, expected: Iterable[ExpectedRecord], actual: Iterable[ExpectedRecord]
) -> tuple[list[ExpectedRecord], list[ExpectedRecord]]:
    """Both in an order in which equal records stand first, each beside its equal."""
    rest = in_any_order(actual)
    found: list[ExpectedRecord] = []
    missing: list[ExpectedRecord] = []
    same: list[ExpectedRecord] = []
    for one in in_any_order(expected):
        match = next((other for other in rest if _is_same(view, one, other)), None)
        if match is None:
            missing.append(one)
        else:
            rest.remove(match)
            found.append(one)
            same.append(match)
    return found + missing, same + rest


def _actual(view: SinkView, record: OutputRecord, parts: Iterable[str]) -> ExpectedRecord:
    everything: ExpectedRecord = {
        "key": record.key,
        "value": view.row(record),
        "timestamp": record.timestamp,
        "partition": record.partition,
        "headers": {name: None if text is None else text.decode(errors="replace") for name, text in record.headers},
    }
    return {part: everything[part] for part in parts if part in everything}


def _is_same(view: SinkView, expected: ExpectedRecord, actual: ExpectedRecord) -> bool:
    types = {column.name: column.type for column in view.columns}
    row, other = expected["value"], actual["value"]
    if (row is None) != (other is None):
        return False
    if row is not None and not all(is_same(value, other.get(name), types.get(name)) for name, value in row.items()):
        return False
    return all(is_same(expected[part], actual[part], None) for part in expected if part != "value")


def _shown(record: ExpectedRecord) -> str:
    """A record as the entry that would expect it."""
    if record.keys() == {"value"} and record["value"] is not None:
        return shown(record["value"])
    return shown(record)


# Everything else that is expected


def check_letters(expected: Sequence[Letter], result: LocalResult) -> None:
    """The dead letters are these, in any order."""
    rest = list(result.dead_letters)
    for wanted in expected:
        found = next(
            (
                letter
                for letter in rest
                if wanted.query in (None, letter.query)
                and wanted.kind in (None, letter.kind)
                and (wanted.message or "") in letter.message
            ),
            None,
        )
        if found is None:
            given = {name: value for name, value in wanted.model_dump(by_alias=True).items() if value is not None}
            raise UnmetError(f"there is no dead letter {shown(given)}{dead_letters_shown(rest)}")
        rest.remove(found)
    if rest:
        lines = [f"\n  {letter.query}: {letter_text(letter)}" for letter in rest]
        raise UnmetError(f"dead letters that are not expected:{''.join(lines)}")


def check_counts(expected: Numbers, result: LocalResult) -> None:
    """The counts that are given are right."""
    for name, wanted in expected.model_dump(exclude_none=True).items():
        actual = getattr(result.counts, name)
        if wanted != actual:
            raise UnmetError(f"counts: expected {name} {wanted}, got {actual}")

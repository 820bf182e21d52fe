"""Record goldens: statements and input records, output records and dead letters; language-neutral, in every layout.

A file of records/ is a list of cases, each about one rule of the semantics:

- `statements`, `partitions` (of the sources, 1 if left out), `settings` (defaults from outside the text)
- `inputs`: records in the order in which they come: `topic`, `key` (its text), `value` (`value_text` where it is no
  JSON; `key_base64`, `value_base64` where they are no text), `timestamp` (0 if left out), `partition`, `headers`
- `outputs`: what every sink got: `sink`, `key` (its text), `value`; where given, `timestamp`, `headers`, `partition`;
  `value_text`, `key_base64`, `value_base64` as above
- `dead_letters`: `query`, `class`, and, where given, `message`, `offset`, `partition`, `key`, `value_text`, `headers`
- `late`, `skipped`: counts, 0 if left out; `stops`: the run ends with this text instead
- `compare`: `changes` (each key's sequence of records; the default) or `contents` (the last of each key)
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.golden.goldens import LAYOUTS, Layout, files

from headrace import App
from headrace.app.local import LocalResult, OutputRecord, TaskStopped


class Given(msgspec.Struct, forbid_unknown_fields=True):
    """An input record; its value keeps the bytes that the file has."""

    topic: str
    value: msgspec.Raw = msgspec.Raw(b"null")
    value_text: str | None = None
    value_base64: bytes | None = None
    key: str | None = None
    key_base64: bytes | None = None
    timestamp: int = 0
    partition: int = 0
    headers: dict[str, str] = {}

    def envelope(self) -> dict[str, Any]:
        raw = None if bytes(self.value) == b"null" else bytes(self.value)
        if self.value_text is not None:
            raw = self.value_text.encode()
        return {
            "topic": self.topic,
            "key": self.key if self.key_base64 is None else self.key_base64,
            "value": raw if self.value_base64 is None else self.value_base64,
            "timestamp": self.timestamp,
            "partition": self.partition,
            "headers": self.headers,
        }


class Case(msgspec.Struct, forbid_unknown_fields=True):
    """One case of a file."""

    name: str
    rule: str
    statements: list[str]
    inputs: list[Given]
    partitions: int = 1
    settings: dict[str, str] = {}
    outputs: list[msgspec.Raw] = []
    dead_letters: list[dict[str, Any]] = []
    late: int = 0
    skipped: int = 0
    stops: str | None = None
    compare: str = "changes"


def _load(path: Path) -> list[tuple[str, Case]]:
    return [(f"{path.stem}-{case.name}", case) for case in msgspec.json.decode(path.read_bytes(), type=list[Case])]


CASES = [entry for path in files("records", "*.json") for entry in _load(path)]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_records_come_out_as_the_semantics_say(case: Case, layout: Layout) -> None:
    app = App("\n".join(case.statements), name="app", settings=case.settings)
    if case.stops is not None:
        with pytest.raises(TaskStopped) as stopped:
            _run(app, case, layout)
        assert str(stopped.value) == case.stops
        return
    result = _run(app, case, layout)
    expected = [_exact(raw) for raw in case.outputs]
    assert _sequences(result, expected, case, layout) == _expected(expected, case, layout)
    assert _dead_letters(result, case.dead_letters) == sorted(case.dead_letters, key=_text)
    assert result.counts.late == case.late
    assert result.counts.skipped == case.skipped
    assert result.counts.read == len(case.inputs)
    assert result.counts.emitted == len(result.records)


def test_names_of_cases_are_unique() -> None:
    names = [name for name, _ in CASES]
    assert len(set(names)) == len(names)


def _run(app: App, case: Case, layout: Layout) -> LocalResult:
    records = [given.envelope() for given in case.inputs]
    return app.local(records=records, mode=layout.mode, partitions=case.partitions, parallelism=layout.parallelism)


def _exact(raw: bytes | msgspec.Raw) -> Any:
    """JSON in which numbers stay as they are written: 1.0 is not 1.00, and neither is 1."""
    return json.loads(bytes(raw), parse_float=lambda text: f"number {text}", parse_int=lambda text: f"number {text}")


def _number(value: int) -> str:
    return f"number {value}"


_OPTIONAL: Mapping[str, Callable[[OutputRecord], Any]] = {
    "timestamp": lambda record: _number(record.timestamp),
    "partition": lambda record: _number(record.partition),
    "headers": lambda record: {name: bytes(text).decode() for name, text in record.headers},
    "value_text": lambda record: None if record.raw_value is None else record.raw_value.decode(),
    "value_base64": lambda record: None if record.raw_value is None else b64encode(record.raw_value).decode(),
    "key_base64": lambda record: None if record.raw_key is None else b64encode(record.raw_key).decode(),
}


def _shown(record: OutputRecord, fields: set[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {"sink": record.sink}
    if "key_base64" not in fields:
        shown["key"] = None if record.raw_key is None else record.raw_key.decode()
    if not {"value_text", "value_base64"} & fields:
        shown["value"] = None if record.raw_value is None else _exact(record.raw_value)
    return shown | {name: read(record) for name, read in _OPTIONAL.items() if name in fields}


def _sequences(result: LocalResult, expected: list[Any], case: Case, layout: Layout) -> Any:
    """The records, each with the fields that the case speaks of for its sink."""
    spoken: dict[str, set[str]] = defaultdict(set)
    for record in expected:
        spoken[record["sink"]] |= set(record)
    return _expected([_shown(record, spoken[record.sink]) for record in result.records], case, layout)


def _expected(records: list[Any], case: Case, layout: Layout) -> Any:
    found: dict[Any, list[Any]] = defaultdict(list)
    for record in records:
        by_key = case.compare == "contents" or not layout.one_order
        key = record["key"] if "key" in record else record["key_base64"]
        found[record["sink"], key if by_key else None].append(record)
    if case.compare == "contents":
        return {key: changes[-1] for key, changes in found.items() if changes[-1]["value"] is not None}
    return dict(found)


def _dead_letters(result: LocalResult, expected: list[dict[str, Any]]) -> list[dict[str, Any]]:
    spoken = set().union(*expected) if expected else {"query", "class", "message", "value_text"}
    shown = [
        {
            "query": letter.query,
            "class": letter.kind,
            "message": letter.message,
            "offset": letter.offset,
            "partition": letter.partition,
            "key": None if letter.key is None else letter.key.decode(errors="backslashreplace"),
            "value_text": None if letter.value is None else letter.value.decode(errors="backslashreplace"),
        }
        for letter in result.dead_letters
    ]
    return sorted(({name: text for name, text in letter.items() if name in spoken} for letter in shown), key=_text)


def _text(letter: dict[str, Any]) -> str:
    return json.dumps(letter, sort_keys=True)

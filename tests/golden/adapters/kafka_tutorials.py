"""Confluent's ksqlDB tutorials: records in, the sequence of changes out.

Avro and Protobuf are read as JSON. ksqlDB folds names to upper case, names sinks and their topics so too, and leaves
key columns out of the value: `key_in_value = false` does that, the case of names is folded here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from tests.golden.adapters.suite import Case, Options, add_options, edit_options
from tests.golden.goldens import Layout

from headrace import App
from headrace.app.local import OutputRecord
from headrace.sql.plan import kept_keys

_SET_EMIT = "SET 'emit' = 'changes';\n"
"""ksqlDB's way: changes, for windows too."""
_PARTITIONS = {"tumbling-windows": 11}
"""Source partitions other than the declared one, each with a watermark of its own. ksqlDB, where no grace period is
written, takes records up to a day late; so each of the eleven unordered records is given its own partition."""
_TEXT_OF_JSON = frozenset({"ksql-heterogeneous-json"})
"""Cases with objects in VARCHAR columns: ksqlDB reads their text, and so it stands in the records here."""


_BAD_RECORDS = {"deserialization-errors": 1}
"""How many records ksqlDB cannot read either, and tells of in its processing log."""


class KafkaTutorials:
    name = "kafka_tutorials"
    passing = frozenset(
        (
            "aggregating-count",
            "aggregating-minmax",
            "aggregating-sum",
            "column-difference",
            "concatenation",
            "count-messages",
            "deserialization-errors",
            "filtering",
            "flatten-nested-data",
            "ksql-heterogeneous-json",
            "ksql-nested-json",
            "masking-data",
            "merging",
            "rekeying",
            "serialization",
            "session-windows",
            "splitting",
            "transforming",
            "tumbling-windows",
        )
    )

    def original(self, case: Case) -> str:
        return case.sql

    def adapt(self, case: Case) -> str:
        partitions = _PARTITIONS.get(case.id)

        def edit(relation: str, options: Options) -> Options:
            for name in ("value_format", "format"):
                if options.get(name, "").lower() in ("avro", "protobuf"):
                    options[name] = "json"
            if partitions is not None and "partitions" in options:
                options["partitions"] = str(partitions)
            if relation in queries:
                options["key_in_value"] = "false"
            return options

        sql = add_options(case.sql, lambda relation: {"kafka_topic": relation.upper()})
        queries = _queries(sql)
        return _SET_EMIT + edit_options(sql, edit)

    def check(self, case: Case, app: App, layout: Layout) -> None:
        partitions = _PARTITIONS.get(case.id, 1)
        records = [{"timestamp": 0, **record, "key": _key_text(record.get("key"))} for record in case.data["inputs"]]
        if case.id in _TEXT_OF_JSON:
            for record in records:
                record["value"] = {name: msgspec.json.encode(part).decode() for name, part in record["value"].items()}
        result = app.local(records=records, mode=layout.mode, partitions=partitions, parallelism=layout.parallelism)
        assert len(result.dead_letters) == _BAD_RECORDS.get(case.id, 0)
        keys = {query.sink.topic: _key_names(query) for query in app.logical.queries}
        actual = [_row(record, keys[record.topic]) for record in result.records]
        outputs = [_longer(record, _SESSION_GAPS_MS.get(case.id, 0)) for record in case.data["outputs"]]
        expected = [_expected(record, keys) for record in outputs]
        timed = all("timestamp" in record for record in case.data["outputs"])
        assert _sequences(actual, layout, timed=timed) == _sequences(expected, layout, timed=timed)


_SESSION_GAPS_MS = {"session-windows": 300_000}
_TEXT = "%Y-%m-%d %H:%M:%S"


def _queries(sql: str) -> frozenset[str]:
    """Names of the relations that are made by CREATE … AS."""
    names: set[str] = set()
    for statement in sql.split(";\n"):
        words = statement.split()
        if words[:1] == ["CREATE"] and "AS" in (word.upper() for word in words) and "SELECT" in words:
            names.add(words[2].lower())
    return frozenset(names)


def _key_text(key: Any) -> Any:
    return key if key is None or isinstance(key, str) else msgspec.json.encode(key)


def _key_names(query: Any) -> tuple[str, ...]:
    names = query.sink.key_columns
    return tuple(sorted(kept_keys(query.node))) if names is None else names


_Row = tuple[str, dict[str, Any], dict[str, Any] | None, int]
"""Topic, key columns, value, timestamp."""


def _row(record: OutputRecord, keys: tuple[str, ...]) -> _Row:
    key = record.key if isinstance(record.key, dict) else dict.fromkeys(keys, record.key)
    return record.topic, _folded(key), None if record.value is None else _folded(record.value), record.timestamp


def _longer(record: dict[str, Any], gap_ms: int) -> dict[str, Any]:
    """A record of a session, which ends with its last row in ksqlDB, and a gap after it here."""
    if gap_ms == 0:
        return record
    value = record["value"]
    if value is not None:
        end = datetime.fromisoformat(value["SESSION_END_TS"]) + timedelta(milliseconds=gap_ms)
        length = value["SESSION_LENGTH_MS"] + gap_ms
        value = {**value, "SESSION_END_TS": end.strftime(_TEXT), "SESSION_LENGTH_MS": length}
    window = {**record["window"], "end": record["window"]["end"] + gap_ms}
    return {**record, "window": window, "value": value}


def _expected(record: dict[str, Any], keys: dict[str, tuple[str, ...]]) -> _Row:
    (topic,) = [topic for topic in keys if topic.lower() == record["topic"].lower()]
    window = record.get("window")
    names = keys[topic]
    columns = dict.fromkeys(names[:1], record.get("key"))
    value = None if record["value"] is None else dict(record["value"])
    if window is not None:
        bounds = {"window_start": window["start"], "window_end": window["end"]}
        columns |= bounds
        for name in bounds:  # selected as columns too: ours stand in the key
            assert value is None or value.pop(name.upper(), bounds[name]) == bounds[name]
    return topic, _folded(columns), None if value is None else _folded(value), record.get("timestamp", 0)


def _folded(fields: dict[str, Any]) -> dict[str, Any]:
    return {name.upper(): value for name, value in fields.items()}


def _sequences(rows: Iterable[_Row], layout: Layout, *, timed: bool) -> dict[Any, list[Any]]:
    """What each topic (or, where partitions have no common order, each of its keys) became, change by change.

    A tombstone's time is not compared: in ksqlDB it is that of the row it deletes, here of the row that made it.
    """
    found: dict[Any, list[Any]] = defaultdict(list)
    for topic, key, value, timestamp in rows:
        group = topic if layout.one_order else (topic, msgspec.json.encode(key))
        found[group].append((key, value, timestamp if timed and value is not None else None))
    return dict(found)

"""Nexmark as RisingWave tests it: three sources, one materialized view, compared by its final rows as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from math import isclose
from typing import Any

from tests.golden.adapters.suite import Case, Options, add_options
from tests.golden.goldens import Layout, read_json_lines

from headrace import App
from headrace.sql.vocabulary import RelationKind

_SOURCE_PARTITIONS = 4
_TOPIC: Options = {"format": "json", "timestamp": "date_time"}
_SOURCES = f"""\
CREATE TABLE person (id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, state VARCHAR,
  date_time TIMESTAMP, extra VARCHAR) WITH ({", ".join(f"{k} = '{v}'" for k, v in _TOPIC.items())});
CREATE TABLE auction (id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT,
  date_time TIMESTAMP, expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR)
  WITH ({", ".join(f"{k} = '{v}'" for k, v in _TOPIC.items())});
CREATE TABLE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR,
  date_time TIMESTAMP, extra VARCHAR) WITH ({", ".join(f"{k} = '{v}'" for k, v in _TOPIC.items())});
"""
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)")

_FRACTION = re.compile(r"-?\d+\.\d+")


class Nexmark:
    name = "nexmark"
    passing = frozenset(("q0", "q1", "q10", "q15", "q16", "q17", "q2", "q18", "q19", "q21", "q22"))

    def original(self, case: Case) -> str:
        """`statement ok` and comment lines are the test runner's, not SQL."""
        lines = (line for line in case.sql.splitlines() if line != "statement ok" and not line.startswith("#"))
        return "\n".join(lines).strip() + "\n"

    def adapt(self, case: Case) -> str:
        return _SOURCES + add_options(self.original(case), lambda _: {"timestamp_format": "iso8601"})

    def check(self, case: Case, app: App, layout: Layout) -> None:
        inputs = {topic: read_json_lines(case.folder / "inputs" / f"{topic}.jsonl.gz") for topic in app.source_topics()}
        result = app.local(
            inputs=inputs, mode=layout.mode, partitions=_SOURCE_PARTITIONS, parallelism=layout.parallelism
        )
        assert not result.dead_letters
        (query,) = app.logical.queries
        rows: Iterable[bytes | None] = [record.raw_value for record in result.records]
        if query.sink.kind is RelationKind.TABLE:  # its rows replace each other by key
            rows = {record.raw_key: record.raw_value for record in result.records}.values()
        actual = sorted(_text(row or b"{}") for row in rows)
        expected = sorted(line.split() for line in case.data["outputs_text"])
        assert len(actual) == len(expected)
        for row, wanted in zip(actual, expected, strict=True):
            assert list(map(_same, row, wanted)) == [True] * len(wanted), (row, wanted)


def _text(row: bytes) -> list[str]:
    """A row as sqllogictest compares it: its words, numbers as they were written."""
    fields: dict[str, Any] = json.loads(row, parse_float=str)
    words = ("NULL" if value is None else _TIMESTAMP.sub(r"\1 \2", str(value)) for value in fields.values())
    return " ".join(words).split()


def _same(word: str, wanted: str) -> bool:
    """Fractions are compared as numbers: AVG of BIGINT is DOUBLE here, and in RisingWave a NUMERIC of many digits."""
    if _FRACTION.fullmatch(word):
        return isclose(float(word), float(wanted), rel_tol=1e-9)
    return word == wanted

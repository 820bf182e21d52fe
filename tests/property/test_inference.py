"""The columns found in a sample take every record of the sample."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headrace import App
from headrace.sql.inference import Sample, columns_of, columns_of_texts, declaration, identifier, sample_of_records
from headrace.sql.parser import parse
from headrace.sql.runtime.encoders import encode_csv

EXAMPLES = settings().max_examples
"""An app is compiled for each."""
NAMES = st.one_of(
    st.sampled_from(("id", "ID", "select", "from", "window_start", "_key", "1st", "a b", 'q"q', "größe", "key", "end")),
    st.text(min_size=1, max_size=4),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(("x", "", "2024-02-29", "2024-02-30", "2024-02-29T10:00:00Z", "2024-02-29 10:00", "20240229", "1")),
    st.text(max_size=3),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)
TEXTS = SCALARS.map(lambda value: "" if value is None else str(value))
ROWS = st.lists(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), min_size=1, max_size=5)


def rejected(text: str, records: list[dict[str, Any]]) -> list[str]:
    app = App(f"{text}\nSELECT * FROM s;")
    result = app.local(records=records, partitions=1)
    assert result.counts.read == len(records)
    return [letter.message for letter in result.dead_letters]


@settings(max_examples=EXAMPLES // 4 + 1)
@given(ROWS)
def test_json_objects_are_good_records_of_the_stream_inferred_from_them(rows: list[dict[str, Any]]) -> None:
    columns = columns_of(rows)
    assume(columns)
    text = declaration("s", "t", Sample(columns))
    assert not rejected(text, [{"topic": "t", "value": msgspec.json.encode(row)} for row in rows])


@settings(max_examples=EXAMPLES // 4 + 1)
@given(
    st.lists(st.tuples(*[st.one_of(SCALARS.map(lambda v: "" if v is None else str(v)))] * 3), min_size=1, max_size=5)
)
def test_rows_of_csv_are_good_records_of_the_stream_inferred_from_them(rows: list[tuple[str, ...]]) -> None:
    text = declaration("s", "t", Sample(columns_of_texts("abc", rows), (("format", "csv"),)))
    values = encode_csv(list(rows), ",")
    assert not rejected(text, [{"topic": "t", "value": value} for value in values])


@settings(max_examples=EXAMPLES // 4 + 1)
@given(st.lists(st.one_of(st.binary(max_size=6), VALUES.map(msgspec.json.encode)), min_size=1, max_size=5))
def test_whatever_a_topic_holds_gives_a_declaration_that_can_be_read(values: list[bytes]) -> None:
    sample = sample_of_records(values, [None] * len(values))
    if sample.columns:
        parse(declaration("s", "t", sample))


@given(NAMES.filter(lambda name: name.isprintable() and not set(name) & set('"\\')))
def test_an_identifier_is_read_as_the_name(name: str) -> None:
    (statement,) = parse(f"CREATE STREAM s ({identifier(name)} INT)")
    assert statement.columns[0].name.text == name

"""Formats other than JSON: batches and what was seen change nothing, and what a sink writes a source reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.property.test_decoder import batch_of, column, decode

from headrace.sql.formats import FormatName, ValueFormat
from headrace.sql.record_parts import Part, RecordPart
from headrace.sql.runtime.columns import DecodedColumn
from headrace.sql.runtime.decoder import SourceDecoder
from headrace.sql.runtime.delimited import DelimitedDecoder
from headrace.sql.runtime.encoders import encoder
from headrace.sql.runtime.single_values import SingleValueDecoder
from headrace.sql.types import BIGINT, BOOLEAN, BYTES, DATE, DOUBLE, INT, TIMESTAMP, VARCHAR, Kind, Type

EXAMPLES = settings().max_examples

CSV = (
    column("k", VARCHAR, key=True),
    column("n", BIGINT, unsigned=True),
    column("i", INT, nullable=False),
    column("x", DOUBLE),
    column("d", Type(Kind.DECIMAL, 6, 2)),
    column("b", BOOLEAN),
    column("day", DATE),
    column("at", TIMESTAMP),
    column("raw", BYTES),
    column("o", BIGINT, nullable=False, part=RecordPart(Part.OFFSET)),
)
_FIELDS = [("k", True), ("n", False), ("i", False), ("unused", False), ("x", False), ("d", False), ("b", False)]
_FIELDS += [("day", False), ("at", False), ("raw", False)]


def single(
    type_: Type, format_: FormatName, **flags: Any
) -> tuple[Sequence[DecodedColumn], Callable[[], SourceDecoder]]:
    columns = (column("k", VARCHAR, key=True), column("v", type_, **flags))
    return columns, lambda: SingleValueDecoder(columns, _consumers(columns), None, None, "kafka", format_)


def _consumers(columns: Sequence[DecodedColumn]) -> list[frozenset[str]]:
    names = [c.name for c in columns]
    return [frozenset(names), frozenset(names[:1]), frozenset(names[1:])]


def delimited(columns: Sequence[DecodedColumn], delimiter: str) -> Callable[[], SourceDecoder]:
    return lambda: DelimitedDecoder(columns, _consumers(columns), None, None, "kafka", _FIELDS, delimiter)


DECODERS: dict[str, tuple[Sequence[DecodedColumn], Callable[[], SourceDecoder]]] = {
    "csv": (CSV, delimited(CSV, ",")),
    "csv by tabs": (CSV, delimited(CSV, "\t")),
    "csv of which nothing is used": ((), delimited((), ",")),
    "a binary number": single(BIGINT, FormatName.BINARY, nullable=False),
    "a binary double": single(DOUBLE, FormatName.BINARY),
    "raw text": single(VARCHAR, FormatName.RAW, nullable=False),
    "raw bytes": single(BYTES, FormatName.RAW),
    "a json number": single(INT, FormatName.JSON_VALUE, nullable=False, unsigned=True),
    "a json time": single(TIMESTAMP, FormatName.JSON_VALUE),
}

_TEXTS = st.sampled_from(
    ("", "", "1", "-1", "0.5", "12345.67", "true", "2024-02-29", "2024-02-29T00:00:00Z", "x", '"', "é", "a b", "YQ==")
)
_FIELD_TEXTS = st.one_of(
    _TEXTS,
    st.sampled_from(('""', '"a,b"', '"a""b"', '"a\nb"', '"', 'a"b', '"a"b', "\n", "\r", "\x00", " 1", "9" * 20, "nan")),
)
_LINES = st.one_of(
    st.lists(_FIELD_TEXTS, min_size=9, max_size=10).map(",".join),
    st.lists(_TEXTS, min_size=9, max_size=9).map(",".join),
    st.just(",1,,,,,,,"),
    st.lists(_FIELD_TEXTS, max_size=11).map("\t".join),
).map(str.encode)
_JSON = st.sampled_from(
    (b"1", b"-1", b"null", b" null ", b'"x"', b'"2024-02-29"', b"1.0", b"{}", b"[", b"1 2", b"\xff")
)
VALUES = st.one_of(_LINES, _LINES, _JSON, st.binary(max_size=9), st.binary(min_size=8, max_size=8), st.none())
RECORDS = st.lists(st.tuples(st.sampled_from((None, b"a", b"1", b"\xff")), VALUES), min_size=1, max_size=8)


@settings(max_examples=EXAMPLES * 5)
@given(st.sampled_from(sorted(DECODERS)), RECORDS, st.lists(st.integers(1, 7)))
def test_rows_and_faults_do_not_depend_on_batches(name: str, records: list[Any], cuts: list[int]) -> None:
    columns, make = DECODERS[name]
    decoding = make()
    seen: list[Any] = []
    place = 0
    for cut in [*cuts, len(records)]:
        part = records[place : place + cut]
        if part:
            seen += decode(decoding, columns, part, start=place)
        place += cut
    assert seen == [
        decode(make(), columns, [record, (None, None)], start=number)[0] for number, record in enumerate(records)
    ]


@settings(max_examples=EXAMPLES * 2)
@given(st.lists(st.lists(st.text(max_size=5), min_size=10, max_size=10), min_size=1, max_size=6))
def test_fields_of_good_csv_are_what_python_says(rows: list[list[str]]) -> None:
    columns = tuple(column(name, VARCHAR, attribute=f"c_{name}") for name, _ in _FIELDS)
    records = [(None, _line(row).encode("utf-8", "replace")) for row in rows]
    decoded = delimited(columns, ",")().decode(batch_of(records))
    assert not decoded.lost
    for (_, line), row in zip(records, decoded.rows, strict=True):
        (fields,) = csv.reader(io.StringIO(line.decode(), newline=""))
        assert [getattr(row, c.attribute) for c in columns] == [text or None for text in fields]


def _line(row: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="", quoting=csv.QUOTE_ALL).writerow(row)
    return out.getvalue()


_CASES: dict[str, tuple[Type, FormatName, Any]] = {
    "INT": (INT, FormatName.BINARY, st.integers(-(2**31), 2**31 - 1)),
    "BIGINT": (BIGINT, FormatName.BINARY, st.integers(-(2**63), 2**63 - 1)),
    "DOUBLE": (DOUBLE, FormatName.BINARY, st.floats(allow_nan=False, allow_infinity=False)),
    "VARCHAR": (VARCHAR, FormatName.BINARY, st.text()),
    "raw VARCHAR": (VARCHAR, FormatName.RAW, st.text()),
    "raw BYTES": (BYTES, FormatName.RAW, st.binary()),
    "JSON": (VARCHAR, FormatName.JSON_VALUE, st.text()),
}


@pytest.mark.parametrize("name", _CASES)
@given(st.data())
def test_a_single_value_is_read_as_it_was_written(name: str, data: st.DataObject) -> None:
    type_, format_, values = _CASES[name]
    given_values = data.draw(st.lists(values, min_size=1, max_size=5))
    written = encoder(ValueFormat(format_), [type_])(given_values)
    _, make = single(type_, format_)
    decoded = make().decode(batch_of([(None, value) for value in written]))
    assert [row.v for row in decoded.rows] == given_values


_WRITTEN = st.tuples(
    *(st.one_of(st.none(), texts) for texts in (st.text(min_size=1), st.integers(0, 2**63 - 1))),
    st.integers(-(2**31), 2**31 - 1),
    st.none(),
    st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    st.one_of(st.none(), st.decimals("-9999.99", "9999.99", places=2)),
)


@settings(max_examples=EXAMPLES * 2)
@given(st.lists(_WRITTEN, min_size=1, max_size=5), st.sampled_from((",", "\t", "|", " ")))
@example([(text, None, 0, None, None, None) for text in ("\r", "a\nb", "\r\n", '"\n')], ",")
def test_csv_is_read_as_it_was_written(rows: list[tuple[Any, ...]], delimiter: str) -> None:
    written = encoder(ValueFormat(FormatName.CSV, delimiter), [])(
        [(*row[:5], None if row[5] is None else format(row[5], "f"), None, None, None, None) for row in rows]
    )
    columns = CSV[:5]
    decoded = delimited(columns, delimiter)().decode(batch_of([(None, value) for value in written]))
    assert not decoded.lost
    assert not decoded.bad
    for row, given_row in zip(decoded.rows, rows, strict=True):
        wanted = [*given_row[:3], given_row[4], given_row[5] if given_row[5] is None else Decimal(given_row[5])]
        assert [row.k, row.n, row.i, row.x, row.d] == wanted

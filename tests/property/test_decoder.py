"""The decoder: how a batch is cut, and what was seen before it, never changes a row or a fault."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.sql.errors import RecordError
from headrace.sql.record_parts import Part, RecordPart
from headrace.sql.runtime.columns import DecodedColumn
from headrace.sql.runtime.decoder import SourceDecoder
from headrace.sql.runtime.records import MemoryBatch
from headrace.sql.types import BIGINT, BOOLEAN, BYTES, DATE, DOUBLE, INT, TIMESTAMP, VARCHAR, Kind, Type, map_type

EXAMPLES = settings().max_examples


def column(
    name: str,
    type_: Type,
    *,
    attribute: str = "",
    nullable: bool = True,
    part: RecordPart | None = None,
    **flags: bool,
) -> DecodedColumn:
    given_flags = {"unsigned": False, "quoted": False, "key": False, **flags}
    return DecodedColumn(name, attribute or name.lower(), type_, nullable, **given_flags, part=part)


PLAIN = (
    column("ab", VARCHAR),
    column("n", BIGINT),
    column("i", INT, nullable=False),
    column("x", DOUBLE),
    column("d", Type(Kind.DECIMAL, 6, 2)),
    column("b", BOOLEAN),
    column("day", DATE),
    column("at", TIMESTAMP, nullable=False),
    column("u", BIGINT, unsigned=True),
    column("Q", INT, attribute="c_q", quoted=True),
)
FEW = (column("ab", INT), column("größe", INT, attribute="c_size"), column("AB", VARCHAR, attribute="q", quoted=True))
KEYED = (column("k", VARCHAR, key=True), column("n", INT))
KEYED_NUMBER = (column("k", BIGINT, key=True, nullable=False), column("n", INT))
KEYED_TWICE = (column("k", VARCHAR, key=True), column("m", INT, key=True), column("n", INT))
ORDERED = (column("at", VARCHAR, nullable=False), column("n", INT))
PARTS = (
    column("n", INT),
    column("_key", VARCHAR, attribute="c_key", part=RecordPart(Part.KEY)),
    column("h", VARCHAR, nullable=False, part=RecordPart(Part.HEADER, "h")),
    column("all", map_type(BYTES), nullable=False, attribute="every", part=RecordPart(Part.HEADERS)),
    column("at", TIMESTAMP, nullable=False, part=RecordPart(Part.TIME)),
    column("sent", TIMESTAMP, nullable=False, part=RecordPart(Part.TIMESTAMP)),
    column("i", BIGINT, nullable=False, part=RecordPart(Part.OFFSET)),
    column("d", INT, nullable=False, part=RecordPart(Part.PARTITION)),
    column("x", VARCHAR, nullable=False, part=RecordPart(Part.TOPIC)),
)
DECODERS: dict[str, tuple[Sequence[DecodedColumn], str | None, str | None]] = {
    "plain": (PLAIN, "at", None),
    "few": (FEW, None, None),
    "keyed": (KEYED, None, None),
    "keyed by a number": (KEYED_NUMBER, None, None),
    "keyed twice": (KEYED_TWICE, None, None),
    "parts of records": (PARTS, None, None),
    "with a time format": (ORDERED, "at", "yyyy-MM-dd HH:mm:ss.SSS"),
}


def decoder(name: str) -> SourceDecoder:
    columns, time, time_format = DECODERS[name]
    names = [c.name for c in columns]
    consumers = [frozenset(names), frozenset(names[:1]), frozenset(names[1:])]
    return SourceDecoder(columns, consumers, time, time_format, "kafka")


# Values that look like JSON

_NAMES = ["ab", "AB", "Ab", "aB", "n", "N", "i", "I", "x", "d", "b", "day", "DAY", "at", "At", "u", "Q", "q", "k", "K"]
_NAMES += ["m", "größe", "GRÖSSE", "GRÖßE", "Größe", "other", "\u212a"]
_WRITTEN_NAMES = st.one_of(
    st.sampled_from([json.dumps(name, ensure_ascii=False) for name in _NAMES]),
    st.sampled_from([r'"\u0061b"', r'"\u006e"', r'"a\u0042"', '"\\n"', '"a b"', '""']),
)
_SCALARS = st.one_of(
    st.sampled_from(
        ["null", "true", "false", "0", "1", "-1", "1.0", "-0.0", "0.5", "1e2", "1e400", "-1e400", "1e-400"]
    ),
    st.sampled_from(["2147483648", "-2147483649", "9223372036854775807", "9223372036854775808", "1" * 40, "01", "-"]),
    st.sampled_from(['"a"', '"1"', '""', r'"\u00e9"', r'"\ud800"', r'"\ud83d\ude00"', '"é"', '"NaN"', '"sNaN"', "NaN"]),
    st.sampled_from(['"2013-01-05"', '"2013-02-30"', '"2013-01-05T17:30:00Z"', '"2013-01-05 17:30:00.123"', '"now"']),
    st.sampled_from(["1357407000000", "123.45", "12345.67", "1.005", '"1.5"', '"-0.00"', '"1_0"', '"Infinity"', "tru"]),
    st.sampled_from(['"a\nb"', '"a\tb"', '"\\x"', '"', '"}"', '"{"', '"},{"', '"\\u0000"', '"\x7f"']),
)
_NESTED = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]"),
        st.lists(st.tuples(_WRITTEN_NAMES, inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"
        ),
    ),
    max_leaves=4,
)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    pairs = draw(st.lists(st.tuples(_WRITTEN_NAMES, st.one_of(_SCALARS, _SCALARS, _NESTED)), max_size=6))
    if draw(st.integers(0, 3)):
        pairs += [('"i"', "1"), ('"at"', draw(st.sampled_from(("5", '"2013-01-05 17:30:00.123"'))))]
    gap = draw(st.sampled_from(("", "", "", " ", "\n")))
    return (gap + "{" + f",{gap}".join(f"{name}:{gap}{value}" for name, value in pairs) + "}" + gap).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A value cut, doubled or with a byte changed."""
    value = draw(objects())
    place = draw(st.integers(0, max(len(value) - 1, 0)))
    match draw(st.integers(0, 4)):
        case 0:
            return value[:place]
        case 1:
            return value[place:]
        case 2:
            return value[:place] + draw(st.binary(max_size=2)) + value[place + 1 :]
        case 3:
            return value + draw(st.sampled_from((b"", b",", b" ", b"\n"))) + value
        case _:
            return value[:place] + draw(st.sampled_from((b"\xff", b"\n", b",", b"}", b"{", b"]", b'"'))) + value[place:]


_VALUES = st.one_of(objects(), objects(), objects(), damaged(), st.none(), st.just(b""), st.binary(max_size=8))
_KEYS = st.sampled_from((None, None, b"a", b"1", b"", b"\xff", b'{"k":"a","m":1}', b'{"K":"b"}', b"{", b'{"k":null}'))
RECORDS = st.lists(st.tuples(_KEYS, _VALUES), min_size=1, max_size=8)


def batch_of(records: Sequence[tuple[bytes | None, bytes | None]]) -> MemoryBatch:
    count = len(records)
    return MemoryBatch(
        "t",
        0,
        0,
        count,
        [value for _, value in records],
        [key for key, _ in records],
        [1_000 + number for number in range(count)],
        list(range(count)),
        [_headers(key, value) for key, value in records],
    )


def _headers(key: bytes | None, value: bytes | None) -> list[tuple[str, bytes]]:
    """Headers that depend on the record alone: none, some of one name, some that are no text."""
    return [("h", value or b"")] * ((len(value or b"") + len(key or b"")) % 3)


Seen = list[Any]
"""For each record: what is lost, or the values of its columns with event time, and the fault for each consumer."""


def decode(decoding: SourceDecoder, columns: Sequence[DecodedColumn], records: Sequence[Any], start: int = 0) -> Seen:
    batch = batch_of(records)
    batch.timestamps = [timestamp + start for timestamp in batch.timestamps]
    batch.offsets = [offset + start for offset in batch.offsets]
    decoded = decoding.decode(batch)
    seen: Seen = [None] * len(records)
    for position, error in decoded.lost:
        seen[position] = ("lost", error.kind)
    positions = decoded.positions if decoded.positions is not None else range(len(records))
    assert len(positions) == len(decoded.rows) == len(decoded.times)
    for index, position in enumerate(positions):
        row = decoded.rows[index]
        faults = tuple(_kind(decoded.bad.get(consumer, {}).get(index)) for consumer in range(3))
        values = tuple(_typed(getattr(row, c.attribute)) for c in columns)
        seen[position] = (values, decoded.times[index], faults)
    return seen


def _kind(error: RecordError | None) -> str | None:
    return error.kind if error is not None else None


def _typed(value: Any) -> tuple[str, str]:
    return type(value).__name__, str(value)


def alone(name: str, records: Sequence[Any]) -> Seen:
    """Each record by a decoder that has seen nothing, beside one that forces the closer look."""
    columns = DECODERS[name][0]
    seen: Seen = []
    for number, record in enumerate(records):
        result = decode(decoder(name), columns, [record, (None, None)], start=number)
        assert result[1] == ("lost", "tombstone")
        seen.append(result[0])
    return seen


@settings(max_examples=EXAMPLES * 5)
@given(st.sampled_from(sorted(DECODERS)), RECORDS, st.lists(RECORDS, max_size=2), st.lists(st.integers(1, 7)))
@example("few", [(None, b'{"ab":1},{"x":[{}'), (None, b'{}],"ab":2}')], [], [])
@example("few", [(None, b'{"ab":1}\n{"x":[{}'), (None, b'{}],"ab":2}')], [], [])
@example("few", [(None, b'{"ab":1}{"x":[{}'), (None, b',{}],"ab":2}')], [], [])
@example("few", [(None, b'{"ab":1,"\xff":2}')], [], [])
@example("few", [(None, b'{"ab":1,"x":"\xff"}')], [], [])
@example("few", [(None, b'{"AB":"x","q":0}')] * 2, [], [1])
@example("few", [(None, b'{"Ab":1}'), (None, b'{"Ab":2,"aB":3}')], [], [1])
@example("few", [(None, b'{"ab":1}'), (None, '{"ab":1,"GRÖßE":2}'.encode())], [], [1])
@example("plain", [(None, b'{"i":1,"at":5,"n":' + b"[" * 2_000 + b"]" * 2_000 + b"}")], [], [])
@example("plain", [(None, b'{"i":1,"at":5,"other":' + b"[" * 100_000 + b"]" * 100_000 + b"}")], [], [])
@example("plain", [(None, b'{"i":1,"at":5,"d":1e400}')], [], [])
@example("plain", [(None, b'{"i":1,"at":5,"d":"sNaN"}')], [], [])
@example("keyed", [(b"a", b'{"n":1}'), (b"a", b'{"k":"b","n":1}'), (None, b'{"n":1}')], [], [1, 1])
def test_rows_and_faults_do_not_depend_on_batches_or_on_what_was_seen(
    name: str, records: list[Any], before: list[list[Any]], cuts: list[int]
) -> None:
    columns = DECODERS[name][0]
    decoding = decoder(name)
    for earlier in before:
        decoding.decode(batch_of(earlier))
    seen: Seen = []
    place = 0
    for cut in [*cuts, len(records)]:
        part = records[place : place + cut]
        if part:
            seen += decode(decoding, columns, part, start=place)
        place += cut
    assert seen == alone(name, records)


@settings(max_examples=EXAMPLES * 2)
@given(st.lists(st.tuples(st.sampled_from((None, b"a")), objects()), min_size=1, max_size=8))
def test_values_of_good_records_are_what_json_says(records: list[Any]) -> None:
    for (_, value), seen in zip(records, decode(decoder("few"), FEW, records), strict=True):
        try:
            pairs = json.loads(value, object_pairs_hook=dict, parse_constant=_refuse)
        except (ValueError, RecursionError):
            continue
        if seen[0] == "lost" or any(seen[2]):
            continue
        assert seen[0][0] == _typed(pairs["ab"] if "ab" in pairs else _folded(pairs, "ab"))
        assert seen[0][2] == _typed(pairs.get("AB"))


def _refuse(text: str) -> None:
    raise ValueError(text)


def _folded(pairs: dict[str, Any], name: str) -> Any:
    matching = [value for key, value in pairs.items() if key.lower() == name]
    return matching[-1] if matching else None


@pytest.mark.parametrize(
    "value", [b'{"i":1,"at":5,"d":1e400}', b'{"i":1,"at":5,"d":"Infinity"}', b'{"i":1,"at":5,"d":"NaN"}']
)
def test_decimal_that_is_no_number_of_its_type_is_a_fault(value: bytes) -> None:
    (seen,) = decode(decoder("plain"), PLAIN, [(None, value)])
    assert seen[2] == ("type", None, "type")

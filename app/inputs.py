"""Inputs of local runs: files and Python rows as the records that a producer would have written."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from headrace.app.errors import InputError, UsageError
from headrace.app.values import packed, written, written_alone
from headrace.sql.errors import Span
from headrace.sql.plan import Insert, Source
from headrace.sql.runtime.records import Headers
from headrace.sql.types import Kind

_encode = msgspec.json.Encoder(decimal_format="number").encode


def read_text(path: Path) -> str:
    """The text of a file; InputError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A record on its way into a topic; `partition` None: where the default partitioner puts its key."""

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp: int
    partition: int | None
    headers: Headers
    origin: str | None
    """File and line it came from, for messages."""


def records_of_rows(source: Source, rows: Any) -> Iterator[SourceRecord]:
    """Rows as dicts, a DataFrame, or lines of a file (as read by `rows_of_file`)."""
    if hasattr(rows, "to_dict"):
        rows = rows.astype(object).where(rows.notna(), None).to_dict("records")
    keys = [column.name for column in source.columns if column.key]
    for row in rows:
        if isinstance(row, Line):
            value: bytes = row.value
            origin: str | None = row.origin
        else:
            value, origin = _encode(row), None
        yield SourceRecord(source.topic, _key_of(source, keys, value), written(source, value), 0, None, (), origin)


def _key_of(source: Source, keys: Sequence[str], value: bytes) -> bytes | None:
    """The record key that a producer of a keyed stream would have given: the value's key columns."""
    if not keys or source.key_format == "none":
        return None
    try:
        fields = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    folded = {name.lower(): raw for name, raw in fields.items()}
    raws = {name: fields.get(name, folded.get(name.lower())) for name in keys}
    if source.key_format == "binary":
        raw = raws[keys[0]]
        type_ = next(column.column.type for column in source.columns if column.name == keys[0])
        return None if raw is None or bytes(raw) == b"null" else packed(type_, bytes(raw))
    if len(keys) == 1 and source.key_format == "kafka":
        raw = raws[keys[0]]
        return None if raw is None else _plain(bytes(raw))
    return _encode({name: raw for name, raw in raws.items() if raw is not None})


def _plain(raw: bytes) -> bytes | None:
    """A JSON scalar as the plain text that is a Kafka key."""
    if raw == b"null":
        return None
    if raw[:1] == b'"':
        try:
            return msgspec.json.decode(raw, type=str).encode()
        except (msgspec.DecodeError, UnicodeDecodeError):
            return raw
    return raw


class Base64(msgspec.Struct, forbid_unknown_fields=True):
    """Bytes that are no text."""

    base64: str


Header = str | Base64 | None


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """A record with all that Kafka has of it, as `headrace consume` prints it."""

    value: Any
    topic: str | None = None
    key: Any = None
    timestamp: int | None = None
    partition: int | None = None
    headers: dict[str, Header | list[Header]] | None = None
    """By name; a name that occurs more than once has a list."""
    offset: Any = None
    """Not used: a record comes after those before it."""


def records_of_envelopes(
    envelopes: Iterable[Mapping[str, Any]], sources: Mapping[str, Source], topics: set[str]
) -> Iterator[SourceRecord]:
    """The fields of envelopes, in order.

    InputError names the envelope that is wrong.
    """
    by_topic = {source.topic: source for source in sources.values()}
    for number, fields in enumerate(envelopes, 1):
        origin = str(fields.get("_origin", f"record {number}"))
        try:
            envelope = msgspec.convert({name: fields[name] for name in fields if name != "_origin"}, Envelope)
        except msgspec.ValidationError as error:
            raise InputError(f"{origin}: not an envelope: {error}") from None
        topic = envelope.topic
        if topic is None and len(topics) == 1:
            (topic,) = topics
        elif topic not in topics:
            by_name = sources.get(str(topic).lower())
            if by_name is None:
                known = ", ".join(sorted(topics))
                raise InputError(f"{origin}: topic {topic!r} is read by no query of the app", f"known: {known}")
            topic = by_name.topic
        value = envelope.value
        try:
            if isinstance(value, msgspec.Raw):
                value = written_alone(by_topic[str(topic)], bytes(value))
            headers = list(_headers(envelope.headers or {}))
        except ValueError as error:  # no UTF-8, or no base64
            raise InputError(f"{origin}: not an envelope: {error}") from None
        yield SourceRecord(
            str(topic),
            _key_bytes(envelope.key),
            None if value is None else value if isinstance(value, bytes) else _encode(value),
            envelope.timestamp or 0,
            envelope.partition,
            headers,
            origin,
        )


def _headers(headers: Mapping[str, Header | list[Header]]) -> Iterator[tuple[str, bytes | None]]:
    for name, given in headers.items():
        for header in given if isinstance(given, list) else [given]:
            if isinstance(header, Base64):
                yield name, b64decode(header.base64, validate=True)
            else:
                yield name, None if header is None else header.encode()


def _key_bytes(key: Any) -> bytes | None:
    if key is None or isinstance(key, bytes):
        return key
    return key.encode() if isinstance(key, str) else _encode(key)


def records_of_insert(insert: Insert, line_of: Callable[[Span], str]) -> Iterator[SourceRecord]:
    """The records that an INSERT INTO … VALUES writes out."""
    for record in insert.records:
        line = Line(record.value, line_of(record.span))
        for row in records_of_rows(insert.source, [line]):
            yield replace(row, timestamp=record.timestamp)


@dataclass(frozen=True, slots=True)
class Line:
    """One JSON value of a file."""

    value: bytes
    origin: str


def rows_of_file(source: Source, path: str) -> Iterator[Line]:
    """Values of a file, by its name's end: .jsonl, .ndjson, .json (also .gz), .csv, .parquet; `-` is stdin."""
    name = path.removesuffix(".gz")
    if path == "-" or name.endswith((".jsonl", ".ndjson", ".json")):
        for number, line in enumerate(lines_of_file(path), 1):
            if line.strip():
                yield Line(line.strip(), f"{path}:{number}")
    elif name.endswith(".csv"):
        yield from _csv_rows(source, path)
    elif name.endswith(".parquet"):
        yield from _parquet_rows(path)
    else:
        raise UsageError(f"{path}: unknown kind of file", "known: .jsonl .ndjson .csv .parquet, also .gz; - is stdin")


def envelopes_of_file(path: str) -> Iterator[Mapping[str, Any]]:
    """Envelopes of a file of JSON lines, in order. InputError where a line is none."""
    for number, line in enumerate(lines_of_file(path), 1):
        if not line.strip():
            continue
        try:
            envelope = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            rest = {name: msgspec.json.decode(raw) for name, raw in envelope.items() if name != "value"}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"{path}:{number}: not an envelope: {error}") from None
        if "value" in envelope:
            raw = bytes(envelope["value"])
            rest["value"] = None if raw == b"null" else msgspec.Raw(raw)
        yield {**rest, "_origin": f"{path}:{number}"}


def lines_of_file(path: str) -> Iterator[bytes]:
    """Lines of a file, as `opened_lines` has them."""
    with opened_lines(path) as lines:
        yield from lines


@contextmanager
def opened_lines(path: str) -> Iterator[Iterator[bytes]]:
    """Opens a file, also a .gz, for its lines; `-` is stdin. InputError where it cannot be opened, or not be read."""
    try:
        file = _opened(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    with file as lines:
        yield _lines(lines, path)


def _opened(path: str) -> AbstractContextManager[Iterable[bytes]]:
    if path == "-":
        return nullcontext(sys.stdin.buffer)
    return gzip.open(path) if path.endswith(".gz") else Path(path).open("rb")


def _lines(file: Iterable[bytes], path: str) -> Iterator[bytes]:
    try:
        yield from file
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a whole gzip file: {error}") from None


def csv_text(path: str) -> io.StringIO:
    """The text of a CSV file. InputError where it cannot be read, or is none."""
    content = b"".join(lines_of_file(path))
    try:
        return io.StringIO(content.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text: {error}") from None


def _csv_rows(source: Source, path: str) -> Iterator[Line]:
    """CSV with a header line; numbers and booleans by the declared types, an empty field is NULL."""
    kinds = {column.name.lower(): column.column.type.kind for column in source.columns}
    rows = csv.DictReader(csv_text(path))
    try:
        for number, row in enumerate(rows, 2):
            fields = {}
            for name, field in row.items():
                if name is None:
                    raise InputError(f"{path}:{number}: more fields than the header names")
                fields[name] = _csv_value(field, kinds.get(name.lower()))
            yield Line(_encode(fields), f"{path}:{number}")
    except csv.Error as error:
        raise InputError(f"{path}:{rows.reader.line_num}: not CSV: {error}") from None


def _csv_value(text: str | None, kind: Kind | None) -> Any:
    if text is None or text == "":
        return None
    if kind is Kind.BOOLEAN and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind in (Kind.INT, Kind.BIGINT, Kind.DOUBLE, Kind.DECIMAL) or (
        kind in (Kind.TIMESTAMP, Kind.TIMESTAMP_LTZ) and text.lstrip("-").isdigit()
    ):
        try:
            msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
        return msgspec.Raw(text.encode())
    return text


def _parquet_rows(path: str) -> Iterator[Line]:
    try:
        import pyarrow.parquet as parquet  # type: ignore[import-not-found]
    except ImportError:
        raise UsageError(f"{path}: reading Parquet needs pyarrow", "pip install pyarrow") from None
    number = 0
    for batch in parquet.ParquetFile(path).iter_batches():
        for row in batch.to_pylist():
            number += 1
            yield Line(_encode(row), f"{path}:{number}")

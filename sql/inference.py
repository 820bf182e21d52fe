"""Columns from a sample: what CREATE STREAM fits JSON values, lines of CSV, or texts."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import msgspec

from headrace.sql import syntax as s
from headrace.sql.errors import RecordError, SqlError
from headrace.sql.parser import parse
from headrace.sql.runtime import values as v
from headrace.sql.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    JSON,
    TIMESTAMP,
    VARCHAR,
    Kind,
    Type,
)

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*")
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,18})")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,2})?")
_EPOCH_MS = range(1_000_000_000_000, 4_000_000_000_000)
"""From 2001 to 2096."""
_DELIMITERS = {",": ",", ";": ";", "|": "|", "\t": "TAB"}
_WORD = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Inferred:
    """A column as the sample shows it; `remark` says what to look at."""

    name: str
    type: str
    remark: str | None = None
    is_key: bool = False
    is_time: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """What was read: one JSON object for each record where they are such, and how they are written."""

    columns: tuple[Inferred, ...]
    options: tuple[tuple[str, str], ...] = ()


# Samples


def sample_of_records(values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> Sample:
    """The columns of a topic's records: of JSON objects, else of JSON values, of CSV, or of bytes."""
    given = [value for value in values if value is not None]
    parsed = [_parsed(value) for value in given]
    objects = [value for value in parsed if isinstance(value, dict)]
    if given and len(objects) * 2 > len(given):
        every = [value if isinstance(value, dict) else {} for value in (_parsed(value) for value in values)]
        return Sample(_with_keys(columns_of(objects), every, keys))
    if given and all(value is not _NOTHING for value in parsed):
        known = [value for value in parsed if value is not _NOTHING]
        return Sample((_column("value", known),), (("wrap_single_value", "false"),))  # type: ignore[arg-type]
    try:
        texts = [value.decode() for value in given]
    except UnicodeDecodeError:
        return Sample((Inferred("value", "BYTES"),), (("format", "raw"),))
    return _sample_of_texts(texts)


def _sample_of_texts(texts: list[str]) -> Sample:
    for delimiter, written in _DELIMITERS.items():
        try:
            rows = list(csv.reader(texts, delimiter=delimiter, strict=True))
        except csv.Error:
            continue
        widths = set(map(len, rows))
        if len(rows) == len(texts) and len(widths) == 1 and max(widths) > 1:
            names = [f"field_{number}" for number in range(1, max(widths) + 1)]
            options = (("format", "csv"), ("value_delimiter", written))
            return Sample(columns_of_texts(names, rows), options if written != "," else options[:1])
    return Sample((Inferred("line", "VARCHAR"),), (("format", "raw"),))


def columns_of(rows: Iterable[Mapping[str, Json]]) -> tuple[Inferred, ...]:
    """The columns of JSON objects, in the order in which their names are first met; names that no column can have are
    left out.
    """
    return tuple(_column(name, values) for name, values in _fields(rows).items() if _can_be_name(name))


def _fields(rows: Iterable[Mapping[str, Json]]) -> dict[str, list[Json]]:
    """The values of each name; names are one where case does not count, as it does not when columns are read."""
    found: dict[str, list[Json]] = {}
    spelled: dict[str, str] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(spelled.setdefault(name.lower(), name), []).append(value)
    return found


def _can_be_name(name: str) -> bool:
    return name != "" and name.isprintable() and '"' not in name and "\\" not in name


def columns_of_texts(names: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[Inferred, ...]:
    """The columns of rows of texts, as CSV has them; an empty text is NULL. Names are as in JSON objects: one that
    stands there twice is one column.
    """
    empty: dict[str, Json] = dict.fromkeys(names)
    objects = (dict(zip(names, map(_value_of_text, row), strict=False)) for row in rows)
    found = _fields(chain((empty,), objects))
    columns = (_column(name, _of_one_kind(values)) for name, values in found.items() if _can_be_name(name))
    folded = [name.lower() for name in names]
    return tuple(
        replace(column, remark="named twice") if folded.count(column.name.lower()) > 1 else column for column in columns
    )


_NOTHING = object()


def _parsed(value: bytes | None) -> Json | object:
    try:
        return _NOTHING if value is None else msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NOTHING


def _value_of_text(text: str) -> Json:
    if text == "":
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _of_one_kind(values: list[Json]) -> list[Json]:
    """Fields of CSV that are not all numbers, or all of another kind, are texts."""
    kinds = {_kind(value) for value in values if value is not None}
    if len(kinds) < 2 or kinds == {"number", "fraction"}:
        return values
    return [None if value is None else str(value) for value in values]


# Types


def _column(name: str, values: Sequence[Json]) -> Inferred:
    type_, remark = _type_of(values)
    numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if type_ == str(BIGINT) and all(number in _EPOCH_MS for number in numbers):
        return Inferred(name, type_, "looks like epoch milliseconds: TIMESTAMP reads them too", is_time=True)
    return Inferred(name, type_, remark, is_time=type_ == str(TIMESTAMP))


def _kind(value: Json) -> str:
    match value:
        case bool():
            return "BOOLEAN"
        case int():
            return "number"
        case float():
            return "fraction"
        case str():
            return "text"
        case list():
            return "array"
    return "object"


def _type_of(values: Sequence[Json]) -> tuple[str, str | None]:
    """The type that holds the values, and a remark where it is a guess."""
    given = [value for value in values if value is not None]
    kinds = {_kind(value) for value in given}
    if not kinds:
        return str(VARCHAR), "always NULL in the sample"
    if kinds <= {"number", "fraction"}:
        is_large = any(isinstance(value, int) and not v.BIGINT_MIN <= value <= v.BIGINT_MAX for value in given)
        return (str(DOUBLE), "beyond BIGINT") if is_large else (str(BIGINT if kinds == {"number"} else DOUBLE), None)
    if len(kinds) > 1:
        return str(JSON), f"mixed: {', '.join(sorted(kinds))}"
    match kinds.pop():
        case "BOOLEAN":
            return str(BOOLEAN), None
        case "text":
            return str(_type_of_texts([value for value in given if isinstance(value, str)])), None
        case "array":
            return _type_of_arrays([value for value in given if isinstance(value, list)])
    return _type_of_objects([value for value in given if isinstance(value, dict)])


def _type_of_texts(texts: list[str]) -> Type:
    if all(_DATE.fullmatch(text) and _reads(v.parse_iso_date, text) for text in texts):
        return DATE
    is_time = (_TIME.fullmatch(text) or _DATE.fullmatch(text) for text in texts)
    if all(is_time) and all(_reads(v.parse_iso_timestamp, text) for text in texts):
        return TIMESTAMP
    return VARCHAR


def _reads(parse_text: Callable[[str], int], text: str) -> bool:
    try:
        parse_text(text)
    except RecordError:
        return False
    return True


def _type_of_arrays(arrays: list[list[Json]]) -> tuple[str, str | None]:
    items = [item for array in arrays for item in array]
    if not items:
        return f"ARRAY<{VARCHAR}>", "always empty in the sample"
    element, remark = _type_of(items)
    return f"ARRAY<{element}>", remark


def _type_of_objects(objects: list[dict[str, Json]]) -> tuple[str, str | None]:
    """A STRUCT; a MAP where names differ from object to object and the values do not; JSON where there are none."""
    found = _fields(objects)
    if not found or not all(map(_can_be_name, found)):
        return str(JSON), "objects without fields" if not found else "names that no field can have"
    common, _ = _type_of([value for values in found.values() for value in values])
    if len(objects) > 1 and max(map(len, found.values())) * 2 <= len(objects) and not common.startswith(Kind.JSON):
        return f"MAP<VARCHAR, {common}>", None
    fields = [(name, _type_of(values)) for name, values in found.items()]
    remark = next((f"`{name}`: {remark}" for name, (_, remark) in fields if remark is not None), None)
    return f"STRUCT<{', '.join(f'{identifier(name)} {type_}' for name, (type_, _) in fields)}>", remark


# Keys


def _with_keys(
    columns: tuple[Inferred, ...], rows: Sequence[Mapping[str, Json]], keys: Sequence[bytes | None]
) -> tuple[Inferred, ...]:
    """The columns; the first one that all record keys are the plain text of is KEY."""
    pairs = [(row, key) for row, key in zip(rows, keys, strict=True) if key is not None and row]
    for index, column in enumerate(columns):
        if pairs and all(_is_key(row.get(column.name), key) for row, key in pairs):
            keyed = Inferred(column.name, column.type, column.remark, True, column.is_time)
            return (*columns[:index], keyed, *columns[index + 1 :])
    return columns


def _is_key(value: Json, key: bytes) -> bool:
    match value:
        case bool():
            return False
        case int() | str():
            return str(value).encode() == key
    return False


# Text


def identifier(name: str) -> str:
    """A name as SQL has it: in double quotes where it needs them."""
    if _WORD.fullmatch(name):
        try:
            (statement,) = parse(f"CREATE STREAM t ({name} STRUCT<{name} INT>)")
            (query,) = parse(f"SELECT {name} FROM t")
        except SqlError:
            return _quoted(name)
        declared = isinstance(statement, s.CreateRelation) and statement.columns[0].name.text == name
        match query:
            case s.Query(query=s.Select(items=(s.SelectItem(expression=s.Name()),))) if declared:
                return name
    return _quoted(name)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def declaration(name: str, topic: str | None, sample: Sample) -> str:
    """The text of CREATE STREAM."""
    lines: list[str] = []
    for number, column in enumerate(sample.columns, 1):
        line = f"  {identifier(column.name)} {column.type}{' KEY' if column.is_key else ''}"
        line += "," if number < len(sample.columns) else ""
        remark = " ".join((column.remark or "").split())  # names in it may have line ends
        lines.append(f"{line}  -- {remark}" if remark else line)
    time = next((column for column in sample.columns if column.is_time), None)
    if time is not None:
        written = identifier(time.name)
        lines.append(f"  -- , WATERMARK FOR {written} AS {written} - INTERVAL '5' SECOND")
    named = (*((("topic", topic),) if topic is not None else ()), *sample.options)
    options = ", ".join(f"{key} = '{value}'" for key, value in named)
    end = f") WITH ({options});" if options else ");"
    return "\n".join((f"CREATE STREAM {identifier(name)} (", *lines, end, ""))

"""Samples of files and topics, and the CREATE STREAM that fits them."""

from __future__ import annotations

import csv
import itertools
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from headrace.app.consume import records_to_end
from headrace.app.errors import InputError
from headrace.app.inputs import csv_text, lines_of_file
from headrace.app.settings import Settings
from headrace.sql.inference import Sample, columns_of, columns_of_texts, declaration, sample_of_records

KINDS = (".jsonl", ".ndjson", ".json", ".csv")


def is_file(source: str) -> bool:
    """Whether what stands on the command line is a file; else it is a topic."""
    return source == "-" or source.removesuffix(".gz").endswith(KINDS) or Path(source).is_file()


def of_file(path: str, name: str | None, count: int) -> str:
    """The declaration that fits the first records of a file. InputError where it cannot be read, or has none."""
    is_csv = path.removesuffix(".gz").endswith(".csv")
    sample = _csv_sample(path, count) if is_csv else _json_sample(path, count)
    if not sample.columns:
        raise InputError(f"{path}: there is no record to look at")
    stem = "input" if path == "-" else Path(path.removesuffix(".gz")).stem
    return declaration(name or _as_name(stem), None, sample)


def of_topic(settings: Settings, topic: str, name: str | None, count: int) -> str:
    """The declaration that fits the first records of a topic. InputError where it has none."""
    values: list[bytes | None] = []
    keys: list[bytes | None] = []
    with closing(records_to_end(settings, topic)) as records:
        for record in itertools.islice(records, count):
            for found, kept in ((record.value(), values), (record.key(), keys)):
                kept.append(found)
    sample = sample_of_records(values, keys)
    if not sample.columns or not any(value is not None for value in values):
        raise InputError(f"topic {topic}: there is no record to look at")
    return declaration(name or _as_name(topic), topic, sample)


def _json_sample(path: str, count: int) -> Sample:
    rows = []
    lines = ((number, line) for number, line in enumerate(lines_of_file(path), 1) if line.strip())
    for number, line in itertools.islice(lines, count):
        try:
            rows.append(msgspec.json.decode(line, type=dict[str, Any]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"{path}:{number}: not a JSON object: {error}") from None
    return Sample(columns_of(rows))


def _csv_sample(path: str, count: int) -> Sample:
    rows = csv.reader(csv_text(path))
    try:
        names = next(rows, [])
        return Sample(columns_of_texts(names, list(itertools.islice(rows, count))))
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: not CSV: {error}") from None


def _as_name(text: str) -> str:
    """The name of a stream made of that of a file or topic."""
    name = re.sub(r"\W+", "_", text).strip("_").lower() or "input"
    return f"s_{name}" if name[0].isdigit() else name

"""What a YAML test file may hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from headrace.app.errors import InputError
from headrace.app.testing.yaml_text import YamlText
from headrace.sql.errors import did_you_mean
from headrace.sql.physical import Mode

Entry = dict[str, Any]
"""A record: its row, or an envelope."""
_ENVELOPE = frozenset(("key", "value", "timestamp", "partition", "headers"))


def is_envelope(entry: Entry) -> bool:
    """Whether an entry is a whole record: its `value` is a row (or null), and it has nothing but parts of a record."""
    return "value" in entry and entry.keys() <= _ENVELOPE and isinstance(entry["value"], Mapping | None)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Running(_Strict):
    """How tests are run: of the file, and where a test says otherwise, of the test."""

    settings: dict[str, str | int] | None = None
    partitions: int | None = Field(default=None, ge=1, le=1000)
    modes: list[Literal["single", "partitioned"]] | None = Field(default=None, min_length=1)


class Letter(_Strict):
    """A dead letter; what is not given is not compared."""

    query: str | None = None
    kind: str | None = Field(default=None, alias="class")
    message: str | None = None
    """A part of the message."""


class Numbers(_Strict):
    """Counts of a run; what is not given is not compared."""

    read: int | None = None
    emitted: int | None = None
    late: int | None = None
    dead_lettered: int | None = None
    skipped: int | None = None


class CaseSchema(Running):
    """One test: what goes in, and what is expected to come out."""

    name: str = Field(min_length=1)
    inputs: dict[str, list[Entry]] = {}
    records: list[Entry] = []
    expect: dict[str, list[Entry]] = {}
    final: dict[str, list[Entry]] = {}
    dead_letters: list[Letter] = []
    counts: Numbers | None = None
    error: str | None = Field(default=None, min_length=1)


class FileSchema(Running):
    """A test file: an app, and its tests."""

    app: str | None = None
    sql: str | None = None
    tests: list[CaseSchema] = Field(min_length=1)


def read_schema(text: YamlText) -> FileSchema:
    """The file as the schema has it. InputError with everything that is wrong, each with its line."""
    if not isinstance(text.value, Mapping):
        raise InputError(f"{text.file}:1: a test file has `app` or `sql`, and `tests`")
    try:
        file = FileSchema.model_validate(text.value)
    except ValidationError as error:
        raise InputError("\n".join(_problems(error.errors(), text))) from None
    if (file.app is None) == (file.sql is None):
        raise InputError(f"{text.file}:1: a test file has either `app`, the path of an SQL file, or `sql`, its text")
    for index, test in enumerate(file.tests):
        place = text.place(("tests", index))
        if not test.model_fields_set & {"expect", "final", "dead_letters", "counts", "error"}:
            raise InputError(f"{place}: test `{test.name}` expects nothing")
        if any(test.name == earlier.name for earlier in file.tests[:index]):
            raise InputError(f"{place}: two tests are called `{test.name}`")
    return file


def _problems(errors: Sequence[ErrorDetails], text: YamlText) -> Iterator[str]:
    for error in errors:
        path = tuple(part for part in error["loc"] if isinstance(part, int) or part not in ("str", "int"))
        place = text.place(path)
        name = path[-1] if path else ""
        match error["type"]:
            case "extra_forbidden":
                known = _model_at(path).model_fields
                hint = did_you_mean(str(name), (field.alias or known_as for known_as, field in known.items()))
                yield f"{place}: unknown name `{name}`" + (f"; {hint}" if hint else "")
            case "missing":
                yield f"{place}: `{name}` is missing"
            case _:
                message = error["msg"].replace("Input should be", "should be").replace("dictionary", "mapping")
                yield f"{place}: `{_dotted(path)}` {message[0].lower()}{message[1:]}"


def _model_at(path: Sequence[str | int]) -> type[BaseModel]:
    """The model that the last name of a path should be a field of."""
    match path:
        case ("tests", _, "dead_letters", _, _):
            return Letter
        case ("tests", _, "counts", _):
            return Numbers
        case ("tests", _, _):
            return CaseSchema
    return FileSchema


def _dotted(path: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in path)


def modes_of(test: CaseSchema, file: FileSchema) -> list[Mode]:
    """The modes that a test is run in."""
    return [Mode(mode) for mode in test.modes or file.modes or Mode]

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


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Running(_Strict):
    """How tests are run: of the file, and where a test says otherwise, of the test."""

    settings: dict[str, str | int] | None = None
    partitions: int | None = Field(default=None, ge=1, le=1000)
    modes: list[Literal["single", "partitioned"]] | None = Field(default=None, min_length=1)


class Envelope(_Strict):
    """A whole record."""

    key: Any = None
    value: Entry | None
    timestamp: int | None = Field(default=None, ge=0)
    partition: int | None = Field(default=None, ge=0)
    headers: dict[str, str] | None = None


class TopicEnvelope(Envelope):
    """A record of `records`, which says where it goes."""

    topic: str | None = None
    """The topic or the source; may be left out where the app reads but one."""


def record_of(entry: Entry, place: str) -> Entry:
    """An entry as a record: a whole one as it is, else its row as the `value`.

    Whole is what has a row (or null) as its `value`, and nothing but parts of a record. InputError for a wrong part.
    """
    whole = "value" in entry and entry.keys() <= Envelope.model_fields.keys()
    if not whole or not isinstance(entry["value"], Mapping | None):
        return {"value": entry}
    try:
        Envelope.model_validate(entry)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise InputError(f"{place}: `{_dotted(wrong['loc'])}` {_words(wrong)}") from None
    return entry


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
    records: list[TopicEnvelope] = []
    expect: dict[str, list[Entry]] = {}
    final: dict[str, list[Entry]] = {}
    dead_letters: list[Letter] = []
    counts: Numbers | None = None
    error: str | None = Field(default=None, min_length=1)


class FileSchema(Running):
    """A test file: an app, and its tests."""

    app: str | None = None
    sql: str | None = None
    udf: list[str] = []
    """Modules with functions of the app's own: dotted names, or paths of files."""
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
                yield f"{place}: `{_dotted(path)}` {_words(error)}"


def _model_at(path: Sequence[str | int]) -> type[BaseModel]:
    """The model that the last name of a path should be a field of."""
    match path:
        case ("tests", _, "dead_letters", _, _):
            return Letter
        case ("tests", _, "records", _, _):
            return TopicEnvelope
        case ("tests", _, "counts", _):
            return Numbers
        case ("tests", _, _):
            return CaseSchema
    return FileSchema


def _words(error: ErrorDetails) -> str:
    """pydantic's words for a wrong value, behind its name."""
    message = error["msg"].replace("Input should be", "should be").replace("dictionary", "mapping")
    return f"{message[0].lower()}{message[1:]}"


def _dotted(path: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in path)


def modes_of(test: CaseSchema, file: FileSchema) -> list[Mode]:
    """The modes that a test is run in."""
    return [Mode(mode) for mode in test.modes or file.modes or Mode]

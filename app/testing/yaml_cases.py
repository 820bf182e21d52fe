"""YAML test files: an app, records that go in, and what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from headrace.agents.errors import TaskStopped
from headrace.app.application import App
from headrace.app.errors import HeadraceError, InputError
from headrace.app.inputs import Line, read_text, records_of_rows
from headrace.app.local import LocalResult
from headrace.app.testing.cases import Case, RefusedError, UnmetError, check_in_modes
from headrace.app.testing.compare import shown
from headrace.app.testing.expected import check_counts, check_final, check_letters, check_records, expected_record
from headrace.app.testing.schema import CaseSchema, Entry, FileSchema, modes_of, read_schema, record_of
from headrace.app.testing.sinks import no_such_sink, sinks_of
from headrace.app.testing.yaml_text import YamlText
from headrace.app.udfs import load_modules
from headrace.sql import options as o
from headrace.sql import syntax as s
from headrace.sql.errors import Span, SqlError, did_you_mean
from headrace.sql.physical import Mode, SourceInput
from headrace.sql.plan import Source

_NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class _Tests:
    """A test file at hand: its text with lines, its schema, the SQL of its app."""

    text: YamlText
    file: FileSchema
    sql: str
    sql_file: str
    name: str
    defaults: Mapping[str, str]
    udfs: tuple[ModuleType, ...]


def load_yaml(path: Path, defaults: Mapping[str, str], udfs: tuple[ModuleType, ...]) -> list[Case]:
    """A case for each test. InputError, with lines, for what the schema does not have."""
    text = YamlText(path)
    file = read_schema(text)
    udfs = (*udfs, *_own_modules(text, file, path.parent))
    if file.app is not None:
        sql_path = path.parent / file.app
        if not sql_path.is_file():
            raise InputError(f"{text.place(('app',))}: there is no file `{sql_path}`")
        tests = _Tests(text, file, read_text(sql_path), str(sql_path), sql_path.stem, defaults, udfs)
    else:
        name = path.name.partition(".")[0]
        tests = _Tests(text, file, file.sql or "", f"{path} (sql)", name, defaults, udfs)
    return [_case(tests, index) for index in range(len(file.tests))]


def _own_modules(text: YamlText, file: FileSchema, folder: Path) -> tuple[ModuleType, ...]:
    """The modules of `udf`; paths of files are from the folder of the test file."""
    try:
        return load_modules(str(folder / name) if name.endswith(".py") else name for name in file.udf)
    except HeadraceError as error:
        raise InputError(f"{text.place(('udf',))}: {error}", error.hint) from None


def _case(tests: _Tests, index: int) -> Case:
    test = tests.file.tests[index]
    line = tests.text.line(("tests", index))
    return Case(tests.text.file, line, test.name, lambda: _check(tests, test, ("tests", index)))


def _check(tests: _Tests, test: CaseSchema, path: tuple[str | int, ...]) -> None:
    if test.error is None:
        _run(tests, test, path)
        return
    try:
        _run(tests, test, path)
    except RefusedError as error:
        if test.error not in str(error):
            raise UnmetError(f"expected an error with `{test.error}`, got\n{error}") from None
    else:
        raise UnmetError("expected an error, and there was none")


def _run(tests: _Tests, test: CaseSchema, path: tuple[str | int, ...]) -> None:
    partitions = test.partitions or tests.file.partitions or 1
    try:
        app = App(tests.sql, tests.name, settings=_settings(tests, test, path), udfs=tests.udfs, file=tests.sql_file)
        records = list(_records(tests.text, app, test, path))
        check_in_modes(
            modes_of(test, tests.file),
            lambda mode: _check_result(
                tests.text, app, app.local(records=records, mode=mode, partitions=partitions), test, path, partitions
            ),
        )
    except (SqlError, TaskStopped) as error:
        raise RefusedError(str(error)) from None
    except InputError as error:  # a slip in the test, not an error that a test can expect
        raise UnmetError(f"{error}\n  hint: {error.hint}" if error.hint else str(error)) from None


def _check_result(
    text: YamlText, app: App, result: LocalResult, test: CaseSchema, path: tuple[str | int, ...], partitions: int
) -> None:
    views = sinks_of(app)
    for part, sinks in (("expect", test.expect), ("final", test.final)):
        for name, entries in sinks.items():
            place = text.place((*path, part, name))
            view = views.get(name.lower())
            if view is None:
                message, hint = no_such_sink(name, views)
                raise InputError(f"{place}: {message}", hint)
            expected = [
                expected_record(view, entry, text.place((*path, part, name, i))) for i, entry in enumerate(entries)
            ]
            if part == "expect":
                check_records(view, expected, result, one_order=partitions == 1)
            elif view.keys:
                check_final(view, expected, result)
            else:
                raise InputError(f"{place}: `{name}` has no key, so no final rows", "`expect` its records")
    check_letters(test.dead_letters, result)
    if test.counts is not None:
        check_counts(test.counts, result)


def _settings(tests: _Tests, test: CaseSchema, path: tuple[str | int, ...]) -> dict[str, str]:
    """Settings from outside, of the file, and of the test; InputError for one that is none, or has no such value."""
    settings = dict(tests.defaults)
    for given, place in ((tests.file.settings, ("settings",)), (test.settings, (*path, "settings"))):
        for name, value in (given or {}).items():
            option = s.Option(name, str(value), _NOWHERE, _NOWHERE)
            try:
                key = o.canonical(option, o.SETTINGS, "setting")
                o.check_value(key, option)
            except SqlError as error:
                (problem,) = error.problems
                raise InputError(f"{tests.text.place((*place, name))}: {problem.message}", problem.hint) from None
            settings[key] = str(value).lower()
    return settings


# What goes in


def _records(text: YamlText, app: App, test: CaseSchema, path: tuple[str | int, ...]) -> Iterator[dict[str, Any]]:
    """Envelopes of all input records, in order."""
    inputs = (stage.input for stage in app.plan(Mode.SINGLE).stages)
    sources = {each.source.name.lower(): each.source for each in inputs if isinstance(each, SourceInput)}
    for name, entries in test.inputs.items():
        source = sources.get(name.lower())
        place = (*path, "inputs", name)
        if source is None:
            hint = did_you_mean(name, (source.name for source in sources.values()))
            raise InputError(f"{text.place(place)}: `{name}` is no stream that a query of the app reads", hint)
        for index, entry in enumerate(entries):
            yield _record(source, entry, text.place((*place, index)))
    for index, record in enumerate(test.records):
        yield {**record.model_dump(exclude_unset=True), "_origin": text.place((*path, "records", index))}


def _record(source: Source, entry: Entry, place: str) -> dict[str, Any]:
    envelope = record_of(entry, place)
    value = envelope["value"]
    key: object = None
    if value is not None:
        _check_names(source, value, place)
        (record,) = records_of_rows(source, [Line(shown(value).encode(), place)])
        value, key = record.value, record.key
    return {"key": key, **envelope, "value": value, "topic": source.topic, "_origin": place}


def _check_names(source: Source, row: Mapping[str, Any], place: str) -> None:
    """A name that is no column's would be skipped in a record: in a test it is a slip."""
    names = [column.name for column in source.stored_columns]
    folded = {name.lower() for name in names}
    for name in row:
        if name.lower() not in folded:
            raise InputError(f"{place}: `{source.name}` has no column `{name}`", did_you_mean(name, names))

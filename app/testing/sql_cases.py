"""SQL test files in ksqlDB's form: sections with statements, INSERTs that feed and ASSERTs that read what came out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from headrace.agents.errors import TaskStopped
from headrace.app.application import App
from headrace.app.errors import InputError
from headrace.app.inputs import read_text, records_of_insert
from headrace.app.local import LocalCluster
from headrace.app.testing.assertions import Assertions
from headrace.app.testing.cases import Case, RefusedError, UnmetError, check_in_modes
from headrace.app.testing.sql_text import CaseText, blanked
from headrace.sql import syntax as s
from headrace.sql.errors import Span, SqlError, did_you_mean
from headrace.sql.physical import Mode

_DIRECTIVE = re.compile(r"^--+[ \t]*@(?P<name>[\w.]+):[ \t]*(?P<value>.*?)[ \t]*$", re.MULTILINE)
_TEST, _ERROR, _MESSAGE = _DIRECTIVES = ("test", "expected.error", "expected.message")
_FAILED_ASSERT = "AssertionError"


@dataclass(slots=True)
class _Section:
    """A test of a file, and the part of the file that is its own."""

    name: str
    line: int
    start: int
    expected: dict[str, str] = field(default_factory=dict)
    """What directives say of the error that it ends with."""


def load_sql(path: Path, defaults: Mapping[str, str], udfs: tuple[ModuleType, ...]) -> list[Case]:
    """A case for each `--@test:`; what stands before the first is part of all. InputError for a wrong directive."""
    text = read_text(path)
    sections = list(_sections(path, text))
    if not sections:
        return [_case(path, text, _Section(path.name.partition(".")[0], 1, 0), defaults, udfs)]
    shared = sections[0].start
    ends = [section.start for section in sections[1:]] + [len(text)]
    cases: list[Case] = []
    for section, end in zip(sections, ends, strict=True):
        others = (Span(shared, section.start), Span(end, len(text)))
        cases.append(_case(path, blanked(text, others), section, defaults, udfs))
    return cases


def _sections(path: Path, text: str) -> Iterator[_Section]:
    section: _Section | None = None
    for match in _DIRECTIVE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        name, value = match["name"], match["value"]
        if name not in _DIRECTIVES:
            raise InputError(f"{path}:{line}: unknown directive `@{name}`", did_you_mean(name, _DIRECTIVES))
        if name == _TEST:
            if section is not None:
                yield section
            section = _Section(value, line, match.start())
        elif section is None:
            raise InputError(f"{path}:{line}: `@{name}` stands before the first `@test`")
        elif name in section.expected:
            raise InputError(f"{path}:{line}: `@{name}` stands twice in a test")
        else:
            section.expected[name] = value
        if not value:
            raise InputError(f"{path}:{line}: `@{name}` says nothing")
    if section is not None:
        yield section


def _case(path: Path, text: str, section: _Section, defaults: Mapping[str, str], udfs: tuple[ModuleType, ...]) -> Case:
    def check() -> None:
        if not section.expected:
            _run(path, text, defaults, udfs)
            return
        try:
            _run(path, text, defaults, udfs)
        except UnmetError as error:
            _check_expected(error, section.expected)
        else:
            raise UnmetError("expected an error, and there was none")

    return Case(str(path), section.line, section.name, check)


def _check_expected(error: UnmetError, expected: Mapping[str, str]) -> None:
    if expected.get(_ERROR, "").endswith(_FAILED_ASSERT) and isinstance(error, RefusedError):
        raise UnmetError(f"expected a failing ASSERT, got an error\n{error}")
    message = expected.get(_MESSAGE)
    if message is not None and message not in str(error):
        raise UnmetError(f"expected an error with `{message}`, got\n{error}")


def _run(path: Path, text: str, defaults: Mapping[str, str], udfs: tuple[ModuleType, ...]) -> None:
    case = CaseText(text, path)
    statements = case.statements()
    asserts = [statement.span for statement in statements if isinstance(statement, s.Assertion)]
    try:
        app = App(blanked(case.text, asserts), path.name.partition(".")[0], settings=defaults, udfs=udfs)
        check_in_modes(Mode, lambda mode: _run_in(mode, app, case, statements))
    except SqlError as error:
        raise case.refused(error.problems) from None
    except (InputError, TaskStopped) as error:
        raise RefusedError(str(error)) from None


def _run_in(mode: Mode, app: App, case: CaseText, statements: tuple[s.Statement, ...]) -> None:
    """Statement by statement over one partition; behind the last INSERT the input ends, and windows close."""
    cluster = LocalCluster(app, mode, partitions=1, parallelism=1)
    assertions = Assertions(app)
    read = app.source_topics()
    inserts = iter(app.logical.inserts)
    last = max((i for i, statement in enumerate(statements) if isinstance(statement, s.InsertValues)), default=-1)
    if last < 0:
        cluster.finish()
    for index, statement in enumerate(statements):
        if isinstance(statement, s.InsertValues):
            insert = next(inserts)
            if insert.source.topic in read:
                cluster.feed_in_order(records_of_insert(insert, case.line_of))
        elif isinstance(statement, s.Assertion):
            try:
                assertions.check(statement, cluster.result())
            except RefusedError:
                raise
            except UnmetError as error:
                raise UnmetError(f"{case.line_of(statement.span)}: {error}") from None
        if index == last:
            cluster.finish()

"""Writes the generated parts of README.md and docs/*.md: `python docs/generate.py`.

Generated are the tables between `<!-- generated: NAME -->` and `<!-- end -->`, the output of every ```console run```
session, and the output of every ```python run``` block (the ```text``` block that follows it). So what the docs show
is what the code does; tests/unit/test_docs.py checks that nothing is out of date.
"""

from __future__ import annotations

import contextlib
import datetime  # noqa: F401  # for HINTS
import inspect
import io
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal  # noqa: F401  # for HINTS
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, cast  # noqa: F401  # for HINTS

from typer.main import get_command

import headrace
from headrace import App, SqlError
from headrace.app import settings as s
from headrace.app.cli import cli, run_command
from headrace.app.instruments import INSTRUMENTS
from headrace.sql import aggregate_calls
from headrace.sql import options as o
from headrace.sql import types as t
from headrace.sql.codegen.casts import is_castable
from headrace.sql.functions import aggregates, headers, hints, scalars, windows
from headrace.sql.functions.accumulators import AggregateFunction, Example
from headrace.sql.functions.registry import Rewritten, ScalarFunction
from headrace.sql.operations import show_signature

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")))
BLOCK = re.compile(r"^```(?P<info>[a-z]+[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"(?P<begin><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)

OPTIONS = {
    "topic": "the Kafka topic; default: the lower-case name of the stream or table",
    "format": "[form of the values](#formats)",
    "value_delimiter": "what stands between two fields of CSV: one character, SPACE or TAB; default: a comma",
    "wrap_single_value": "`false`: the JSON value is the one column itself, no object",
    "key_format": "[form of the record keys](#formats); default: `kafka`",
    "partitions": "of a source: the topic is created with so many where it does not exist; of a sink: created with so "
    "many (default: the parallelism)",
    "replicas": "replicas of a topic that Headrace creates; default: 3, or the number of brokers if that is less",
    "timestamp": "the column that is the event time, with a delay of 0; the same as `WATERMARK FOR column`",
    "timestamp_format": "of a source: pattern of a VARCHAR event time; of a sink: form in which every TIMESTAMP is "
    "written (default: epoch milliseconds)",
    "start_from": "where a partition that the app never read is begun",
    "connector": "accepted for Flink's texts",
    "retention": "how long a sink topic that Headrace creates keeps records (`7d`, `12 hours`); default: no limit",
    "key_in_value": "`false` leaves the key columns out of the value",
    "changes": "with EMIT CHANGES: a record for every change, or the newest row of each changed group per commit",
    "ttl": "of a grouped query without a window: event time after which a group without rows ends (`7d`)",
    "on_error": "what a bad record does: dead letter, nothing (counted), or the end of the worker",
    "late": "whether a late record goes to the dead-letter topic; it is counted in both cases",
    "emit": "what a windowed query without EMIT does; default: `final`",
    "parallelism": "number of partitions after a re-key; default: the largest source partition count at the first run",
    "idle_timeout": "silence after which a source partition that was read to its end holds no window open (`30s`)",
}
FLAGS = {
    "bootstrap_servers": "all commands",
    "log_format": "all commands",
    "log_level": "all commands",
    "udf": "`check` `explain` `local` `run` `test` `topics` `reset`",
    "app": "`check` `explain` `local` `run` `topics` `reset`",
    "mode": "`explain` `local` `run` `topics` `reset`",
    "workers": "`run`",
    "parallelism": "`local` `run` `topics` `reset`",
}
TYPES = (
    ("BOOLEAN", ("BOOL",), "true, false", "the same"),
    ("INT", ("INTEGER", "INT4"), "a number without fraction, 32 bits", "a number"),
    ("BIGINT", ("LONG",), "a number without fraction, 64 bits", "a number"),
    ("DOUBLE", ("FLOAT", "REAL", "DOUBLE PRECISION"), "a number", "a number"),
    (
        "DECIMAL(10, 2)",
        ("NUMERIC(10, 2)", "DEC(10, 2)"),
        "a number or a string, no digit lost; up to 38 digits",
        "a number with all digits of the scale",
    ),
    ("VARCHAR", ("STRING", "TEXT"), "a string", "a string"),
    (
        "TIMESTAMP",
        ("TIMESTAMP(3)", "TIMESTAMP(6)"),
        "epoch milliseconds, or ISO-8601 text (UTC where it names no zone)",
        "epoch milliseconds, or as `timestamp_format` says",
    ),
    (
        "TIMESTAMP_LTZ",
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITH LOCAL TIME ZONE", "TIMESTAMPTZ", "TIMESTAMP_LTZ(3)"),
        "as TIMESTAMP",
        "as TIMESTAMP; its text ends with `Z`",
    ),
    ("DATE", (), "text such as `2026-01-05`", "the same"),
    ("TIME", ("TIME(3)",), "text such as `17:30:00.250`; a fraction, and the seconds, may be left out", "the same"),
    ("BYTES", ("BYTEA", "VARBINARY"), "a string, base64", "the same"),
    ("ARRAY<INT>", ("INT[]", "INT ARRAY"), "an array", "an array"),
    ("MAP<VARCHAR, INT>", (), "an object", "an object"),
    (
        "STRUCT<street VARCHAR, zip INT>",
        ("ROW(street VARCHAR, zip INT)",),
        "an object; a field that is missing is NULL",
        "an object with all fields",
    ),
    ("JSON", ("JSONB",), "anything", "the same"),
)
"""Type, other names, how it is read from JSON and written."""
HINTS = (
    *("bool", "int", "float", "str", "bytes", "datetime.date", "datetime.time", "datetime.datetime"),
    *("list[int]", "dict[str, float]", 'Annotated[Decimal, "DECIMAL(10, 2)"]'),
)
"""Type hints of users' functions, as they are written."""
SOURCE = """CREATE STREAM s (k VARCHAR, n BIGINT, b BOOLEAN, t TIMESTAMP,
  WATERMARK FOR t AS t - INTERVAL '5' SECOND) WITH (topic = 's');
"""
REFUSED = (
    ("joins", "SELECT a.k FROM s a JOIN s b ON a.k = b.k"),
    ("subqueries in expressions", "SELECT k FROM s WHERE k IN (SELECT k FROM s)"),
    ("EXISTS", "SELECT k FROM s WHERE EXISTS (SELECT k FROM s)"),
    ("EXCEPT and INTERSECT", "SELECT k FROM s EXCEPT SELECT k FROM s"),
    (
        "UNION with an updating table",
        "CREATE TABLE c AS SELECT k, COUNT(*) AS c FROM s GROUP BY k; SELECT k, c FROM c UNION ALL SELECT k, n FROM s",
    ),
    ("DISTINCT ON", "SELECT DISTINCT ON (k) k, n FROM s"),
    (
        "windows over the rows of DISTINCT",
        "SELECT k, COUNT(*) AS c FROM (SELECT DISTINCT k FROM s) GROUP BY k WINDOW TUMBLING (1m)",
    ),
    ("ORDER BY", "SELECT k FROM s ORDER BY k"),
    ("LIMIT", "SELECT k FROM s LIMIT 3"),
    ("OFFSET", "SELECT k FROM s OFFSET 3"),
    ("OVER in another order than that of event time", "SELECT SUM(n) OVER (ORDER BY n) AS total FROM s"),
    ("frames that look forward", "SELECT SUM(n) OVER (ORDER BY t ROWS 3 FOLLOWING) AS total FROM s"),
    (
        "OVER of an updating table",
        "CREATE TABLE c AS SELECT k, MAX(t) AS t FROM s GROUP BY k; SELECT COUNT(*) OVER (ORDER BY t) FROM c",
    ),
    ("IGNORE NULLS", "SELECT LAG(n) IGNORE NULLS OVER (ORDER BY t) AS before FROM s"),
    ("RANK in Top-N", "SELECT k FROM (SELECT k, RANK() OVER (ORDER BY n) AS r FROM s) WHERE r <= 3"),
    ("ROW_NUMBER by any order, without a limit", "SELECT ROW_NUMBER() OVER (ORDER BY n) AS number FROM s"),
    ("PARTITION BY of a table", "SELECT k, COUNT(*) AS c FROM s GROUP BY k PARTITION BY c"),
    (
        "ksqlDB's window retention",
        "SELECT k, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 1 MINUTE, RETENTION 1 DAY) GROUP BY k",
    ),
    (
        "a window on another column than the event time",
        "SELECT k, COUNT(*) AS c FROM s GROUP BY k WINDOW TUMBLING (n, 1m)",
    ),
    ("DISTINCT in statistics", "SELECT STDDEV(DISTINCT n) AS deviation FROM s"),
    ("ORDER BY in most aggregates", "SELECT LAST_VALUE(n ORDER BY t) AS newest FROM s"),
    ("NTILE, PERCENT_RANK, CUME_DIST", "SELECT NTILE(4) OVER (ORDER BY t) AS quarter FROM s"),
    ("ROLLUP, CUBE", "SELECT k, COUNT(*) AS c FROM s GROUP BY ROLLUP (k)"),
    (
        "GROUP BY of an updating table",
        "CREATE TABLE c AS SELECT k, COUNT(*) AS c FROM s GROUP BY k; SELECT c, COUNT(*) AS n FROM c GROUP BY c",
    ),
    ("reading a table with a primary key", "CREATE TABLE u (id INT PRIMARY KEY, name VARCHAR); SELECT name FROM u"),
    (
        "a second writer of a table",
        (
            "CREATE TABLE c AS SELECT k, COUNT(*) AS c FROM s GROUP BY k; "
            "INSERT INTO c SELECT k, COUNT(*) AS c FROM s GROUP BY k"
        ),
    ),
    ("the watermark in an expression", "SELECT CURRENT_WATERMARK(t) AS w FROM s"),
    ("pseudo-columns of a query", "SELECT _timestamp FROM (SELECT * FROM s)"),
    ("all headers at once", "SELECT _headers FROM s"),
    ("functions written in SQL", "CREATE FUNCTION f AS 'module.f'"),
    ("windows and delays of months", "SELECT COUNT(*) AS c FROM s GROUP BY TUMBLE(t, INTERVAL '1' MONTH)"),
    ("months and days in one interval", "SELECT t + INTERVAL '1 month 2 days' AS later FROM s"),
    ("offsets as time zones", "SELECT t AT TIME ZONE '+02:00' AS there FROM s"),
    ("bit operators", "SELECT n & 1 AS odd FROM s"),
    ("SMALLINT, TINYINT", "CREATE STREAM z (a SMALLINT)"),
    ("a length of VARCHAR", "CREATE STREAM z (a VARCHAR(20))"),
    ("columns found by looking at the data", "CREATE STREAM z WITH (topic = 'z')"),
    ("Avro, Protobuf and JSON with schemas in a registry", "CREATE STREAM z (a INT) WITH (format = 'avro')"),
    ("an INTERVAL of months as a column", "SELECT INTERVAL '1' MONTH AS month FROM s"),
    ("deleting topics", "DROP STREAM s DELETE TOPIC"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page: the words after the backticks, and what stands in it."""

    info: str
    body: str

    @property
    def file(self) -> str | None:
        """Name of the file that the block stands for, in sessions of the same page."""
        found = re.search(r"\bfile=(\S+)", self.info)
        return found[1] if found else None


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(match["info"], match["body"]) for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def rendered(page: Path) -> str:
    """The page as it should be."""
    text = page.read_text(encoding="utf-8")
    text = SECTION.sub(lambda match: f"{match['begin']}\n{SECTIONS[match['name']]()}\n{match['end']}", text)
    with _folder(blocks(page)):
        output = ""

        def render(match: re.Match[str]) -> str:
            nonlocal output
            info, body = match["info"], match["body"]
            if info == "console run":
                body = "".join(f"$ {command}\n{session(command)}" for command in commands(body))
            elif info == "python run":
                output = executed(body)
            elif info == "text output":
                body = output
            return f"```{info}\n{body}```"

        return BLOCK.sub(render, text)


# Sessions


def commands(body: str) -> Iterator[str]:
    """The command lines of a session."""
    return (line.removeprefix("$ ") for line in body.splitlines() if line.startswith("$ "))


def session(command: str) -> str:
    """What a command line prints. Understood are `headrace …`, `| head -N` behind it, and `echo $?`."""
    if command == "echo $?":
        return f"{session.last}\n"  # type: ignore[attr-defined]
    line, _, cut = command.partition(" | head -")
    program, *arguments = shlex.split(line)
    assert program == "headrace", f"only headrace can be shown: {command}"
    with _captured() as (out, err):
        session.last = run_command(arguments)  # type: ignore[attr-defined]
    lines = _text(out).splitlines(keepends=True)
    return "".join(lines[: int(cut)] if cut else lines) + _text(err)


def executed(code: str) -> str:
    """What a piece of Python prints."""
    with _captured() as (out, _):
        exec(compile(code, "<docs>", "exec"), {"__name__": "docs"})  # the code is the page's own
    return _text(out)


@contextlib.contextmanager
def _captured() -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield out, err


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


@contextlib.contextmanager
def _folder(page: list[Block]) -> Iterator[None]:
    """A folder like the root of the repository, with the page's files in it, and no settings from outside."""
    outside = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("HEADRACE_")}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("examples").symlink_to(ROOT / "examples")
        for block in page:
            if block.file is not None:
                Path(block.file).write_text(block.body, encoding="utf-8")
        try:
            yield
        finally:
            os.environ.update(outside)


# Tables


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"


def scalar_functions() -> str:
    """A table for each family."""
    families: dict[str, tuple[ScalarFunction | Rewritten, ...]] = {
        family: (*functions, *scalars.REWRITTEN_FAMILIES.get(family, ()))
        for family, functions in scalars.FAMILIES.items()
    }
    families["Headers of the record"] = headers.FUNCTIONS
    parts: list[str] = []
    for family, functions in families.items():
        rows = [_scalar_function(function) for function in sorted(functions, key=lambda each: each.name)]
        parts += ["", f"### {family}", "", table(("function", "gives", "examples"), rows)]
    return "\n".join(parts)


def _scalar_function(function: ScalarFunction | Rewritten) -> tuple[str, ...]:
    if isinstance(function, Rewritten):
        shown = [function.shown]
    elif function in headers.FUNCTIONS:  # nobody writes their first operand
        shown = [f"{function.name}({', '.join(map(str, function.signatures[0].parameters[1:]))})"]
    else:
        shown = list(dict.fromkeys(show_signature(function.name, signature) for signature in function.signatures))
    aliases = f" Also {', '.join(map(_code, function.aliases))}." if function.aliases else ""
    examples = "<br>".join(f"`{call}` is `{result}`" for call, result in function.examples)
    return ("<br>".join(map(_code, shown)), function.doc + aliases, examples)


def aggregate_functions() -> str:
    rows: list[tuple[str, ...]] = []
    for function in aggregates.FUNCTIONS:
        calls = dict.fromkeys(aggregate_calls.show_signature(function.name, each) for each in function.signatures)
        if function.name == "COUNT":
            calls = {"COUNT(*)": None, **calls}
        aliases = f" Also {', '.join(map(_code, function.aliases))}." if function.aliases else ""
        examples = "<br>".join(map(_aggregate_example, function.examples))
        rows.append(
            ("<br>".join(map(_code, calls)), function.doc + aliases, _distinct(function), function.state, examples)
        )
    return table(("function", "gives", "DISTINCT", "state of a group", "examples"), rows)


def _distinct(function: AggregateFunction) -> str:
    if function.distinct == function.signatures:
        return "the same"
    return "yes" if function.distinct or function.name == "COUNT" else ""


def _aggregate_example(example: Example) -> str:
    rows = ", ".join(map(_shown, example.rows))
    return f"`{example.call}` over {rows} is {_shown(example.result)}"


def _shown(value: object) -> str:
    return _code(json.dumps(value, ensure_ascii=False))


def hint_types() -> str:
    """Each hint with the type that it is read as."""
    reader = hints.HintReader("F")
    rows = [(_code(text), _code(str(reader.read(eval(text), None, "a hint").type))) for text in HINTS]
    return table(("hint", "SQL type"), rows)


def window_functions() -> str:
    calls = ((f"{function.name}({', '.join(function.parameters)})", function.doc) for function in windows.FUNCTIONS)
    return table(("function", "gives"), [(_code(call), doc) for call, doc in calls])


def with_options() -> str:
    rows: list[tuple[str, ...]] = []
    for name in dict.fromkeys((*o.SOURCE_OPTIONS, *o.SINK_OPTIONS)):
        synonyms = [synonym for synonym, meant in o._SYNONYMS.items() if meant == name]
        where = [what for what, known in (("source", o.SOURCE_OPTIONS), ("sink", o.SINK_OPTIONS)) if name in known]
        also = ", ".join(map(_code, synonyms))
        rows.append((_code(name), also, ", ".join(where), _values(name), OPTIONS[name]))
    return table(("option", "also written", "of a", "values", "meaning"), rows)


def set_options() -> str:
    return table(("setting", "values", "meaning"), [(_code(name), _values(name), OPTIONS[name]) for name in o.SETTINGS])


def _values(name: str) -> str:
    if name in o._VALUES:
        return ", ".join(map(_code, o._VALUES[name]))
    return "a number from 1" if name in o._COUNTS else "text"


def types() -> str:
    rows: list[tuple[str, ...]] = []
    for name, synonyms, reads, writes in TYPES:
        assert all(_type(synonym) == _type(name) for synonym in synonyms)
        rows.append((_code(name), ", ".join(map(_code, synonyms)), reads, writes))
    return table(("type", "also", "read from JSON", "written as"), rows)


def _type(declared: str) -> object:
    """The type that a declaration stands for."""
    app = App(f"CREATE STREAM s (c {declared}); SELECT c FROM s")
    return app.logical.queries[0].node.columns[0].type


def conversions() -> str:
    """Every type to every other: how it gets there."""
    known = (t.BOOLEAN, t.INT, t.BIGINT, t.DOUBLE, t.decimal_type(38, 9), t.VARCHAR, t.BYTES, t.DATE, t.TIME)
    known = (*known, t.TIMESTAMP, t.TIMESTAMP_LTZ, t.INTERVAL, t.array_type(t.INT), t.map_type(t.INT), t.JSON)
    names = [type_.kind.value for type_ in known]
    rows = [(_code(source.kind.value), *(_conversion(source, target) for target in known)) for source in known]
    return table(("from \\ to", *map(_code, names)), rows)


def _conversion(source: t.Type, target: t.Type) -> str:
    if source == target:
        return "–"
    if t.common_type(source, target) == target:
        return "by itself"
    return "CAST" if is_castable(source, target) else ""


def refused() -> str:
    return table(("feature", "what you are told"), [(name, _code(refusal(sql))) for name, sql in REFUSED])


def refusal(sql: str) -> str:
    """The message with which a text is refused."""
    try:
        App(SOURCE + sql)
    except SqlError as error:
        return error.problems[0].message.replace("`", "'")
    raise AssertionError(f"is not refused any more: {sql}")


def metrics() -> str:
    rows = [
        (_code(each.name), each.kind.value, each.unit.strip("{}"), each.what, ", ".join(each.attributes))
        for each in INSTRUMENTS
    ]
    return table(("metric", "kind", "unit", "meaning", "attributes besides `job`"), rows)


def settings() -> str:
    rows: list[tuple[str, ...]] = []
    for name, field in s.Settings.model_fields.items():
        if name == "kafka":
            continue
        default = _default(field.default)
        doc = field.description or {"log_format": "Form of the log.", "log_level": "Least level that is logged."}[name]
        values = getattr(field.annotation, "__members__", None)
        choices = f" ({', '.join(map(str, values.values()))})" if values else ""
        rows.append((_code(name), _code(default) if default else "", doc.rstrip(".") + choices, FLAGS.get(name, "")))
    return table(("setting", "default", "meaning", "a flag of"), rows)


def _default(value: Any) -> str:
    if hasattr(value, "total_seconds"):
        seconds = value.total_seconds()
        return f"{seconds:.0f}s" if seconds >= 1 else f"{seconds * 1000:.0f}ms"
    return "" if value in (None, ()) else str(value.value) if isinstance(value, Enum) else str(value)


def commands_table() -> str:
    rows = [(_code(path), command.get_short_help_str(limit=200)) for path, command in _commands(get_command(cli), "")]
    return table(("command", "what it does"), rows)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A command of Typer, or all that are in it."""
    name = f"{path} {command.name}".strip()
    if not hasattr(command, "commands"):
        yield name, command
        return
    for each in command.commands.values():
        yield from _commands(each, name)


def python_api() -> str:
    rows = [(_code(f"headrace.{name}"), _sentence(getattr(headrace, name))) for name in headrace.__all__]
    rows[1:1] = [(_code(f"App.{each.__name__}"), _sentence(each)) for each in (App.explain, App.local)]
    return table(("name", "what it is"), rows)


def _sentence(documented: object) -> str:
    """The first sentence of a docstring."""
    text = inspect.getdoc(documented) or ""
    return " ".join(text.split("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def worker_endpoints() -> str:
    from headrace.app.http import application

    resources = application(cast(Any, None), None).router.resources()
    paths = [
        resource.canonical for resource in resources if resource.canonical.startswith(("/health", "/status", "/m"))
    ]
    return ", ".join(_code(f"GET {path}") for path in paths)


def server_endpoints() -> str:
    from headrace.app.server.api import Api

    class Named:
        id = "docs"
        settings = s.Settings()

    endpoints = Api(cast(Any, Named)).endpoints
    return table(("endpoint", "what it does"), [(_code(f"{e.method} {e.path}"), e.summary) for e in endpoints])


SECTIONS: Mapping[str, Callable[[], str]] = {
    "commands": commands_table,
    "python-api": python_api,
    "worker-endpoints": worker_endpoints,
    "server-endpoints": server_endpoints,
    "scalar-functions": scalar_functions,
    "aggregate-functions": aggregate_functions,
    "window-functions": window_functions,
    "hints": hint_types,
    "with-options": with_options,
    "set-options": set_options,
    "types": types,
    "conversions": conversions,
    "refused": refused,
    "settings": settings,
    "metrics": metrics,
}


def main() -> None:
    for page in PAGES:
        text = rendered(page)
        if text != page.read_text(encoding="utf-8"):
            page.write_text(text, encoding="utf-8")
            sys.stderr.write(f"written: {page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()

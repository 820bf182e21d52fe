"""The generated tables of the docs, by name: what users can write, set, call and watch, as the code has it."""

from __future__ import annotations

import datetime  # noqa: F401  # for HINTS
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal  # noqa: F401  # for HINTS
from enum import Enum
from typing import Annotated, Any, cast  # noqa: F401  # for HINTS

from docs.refused import REFUSED, refusal
from typer.main import get_command

import headrace
from headrace import App
from headrace.app import settings as s
from headrace.app.cli import cli
from headrace.app.instruments import INSTRUMENTS
from headrace.sql import aggregate_calls
from headrace.sql import types as t
from headrace.sql.codegen.casts import is_castable
from headrace.sql.functions import aggregates, headers, hints, scalars, windows
from headrace.sql.functions.accumulators import AggregateFunction, Example
from headrace.sql.functions.registry import Rewritten, ScalarFunction
from headrace.sql.operations import show_signature
from headrace.sql.options import OPTIONS, Option, Place

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
    options = (each for each in OPTIONS if {Place.SOURCE, Place.SINK} & set(each.places))
    rows = [
        (
            _code(each.name),
            ", ".join(map(_code, each.also)),
            ", ".join(place.value for place in each.places if place is not Place.SET),
            _values(each),
            each.doc,
        )
        for each in options
    ]
    return table(("option", "also written", "of a", "values", "meaning"), rows)


def set_options() -> str:
    options = [each for each in OPTIONS if Place.SET in each.places]
    return table(("setting", "values", "meaning"), [(_code(each.name), _values(each), each.doc) for each in options])


def _values(option: Option) -> str:
    return ", ".join(map(_code, option.values)) or option.takes


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
        rows.append((_code(name), _code(default) if default else "", doc.rstrip(".") + choices, _flags(name)))
    return table(("setting", "default", "meaning", "a flag of"), rows)


def _flags(setting: str) -> str:
    """The commands that have a flag for a setting; benchmarks, which measure what is set, are left out."""
    root = get_command(cli)
    if any(parameter.name == setting for parameter in root.params):
        return "all commands"
    paths = (
        path.removeprefix("headrace ")
        for path, command in _commands(root, "")
        if any(parameter.name == setting for parameter in command.params)
    )
    return " ".join(_code(path) for path in paths if not path.startswith("bench "))


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


TABLES: Mapping[str, Callable[[], str]] = {
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

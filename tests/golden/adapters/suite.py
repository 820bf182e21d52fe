"""A public suite: its cases as data, and what an adapter may change of them.

An adapter may change WITH entries, the case of names, where keys stand and SET 'emit', and may compare final rows
instead of the change sequence. The text of every SELECT stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.golden.goldens import ROOT, Layout, read_json_lines

from headrace import App

Options = dict[str, str]
EditOptions = Callable[[str, Options], Options]
"""The WITH entries of a relation, by its name, as they are to be; names in lower case, values without quotes."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case as its suite has it."""

    suite: str
    id: str
    data: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        return ROOT / "suites" / self.suite

    @property
    def refusal(self) -> Path:
        return self.folder / "refusals" / f"{self.id}.txt"

    @property
    def sql(self) -> str:
        """The statements, each ended by a semicolon."""
        parts = (text.strip().removesuffix(";") for text in self.data["statements"])
        return "\n".join(f"{part};" for part in parts) + "\n"

    def outputs(self) -> list[Any]:
        if "output_file" in self.data:
            return read_json_lines(self.folder / "outputs" / self.data["output_file"])
        return list(self.data["outputs"])


class Suite(Protocol):
    """A suite with its adapter."""

    name: str
    passing: frozenset[str]
    """The cases that Headrace runs. All others are refused, each by a golden text."""

    def adapt(self, case: Case) -> str:
        """The SQL text that Headrace runs."""

    def original(self, case: Case) -> str:
        """The SQL text of the suite."""

    def check(self, case: Case, app: App, layout: Layout) -> None:
        """Run the case; AssertionError where the results differ from the suite's."""


def load(suite: str) -> dict[str, Case]:
    """Every case of a suite by its id."""
    lines = read_json_lines(ROOT / "suites" / suite / "cases.jsonl")
    return {line["id"]: Case(suite, line["id"], line) for line in lines}


# WITH (…)

_RELATION = r"CREATE\s+(?:STREAM|TABLE|MATERIALIZED\s+VIEW)\s+(\w+)"
_OPENING = re.compile(rf"{_RELATION}|\bWITH\s*\(", re.IGNORECASE)
_ENTRY = re.compile(r"\s*(?:'([\w.]+)'|([\w.]+))\s*=\s*(?:'((?:[^']|'')*)'|(\w+))\s*,?")
_AS = re.compile(rf"({_RELATION})(\s+AS\b)", re.IGNORECASE)


def edit_options(sql: str, edit: EditOptions) -> str:
    """The text with the entries of every WITH (…) edited; everything else as it is."""
    parts: list[str] = []
    relation, done = "", 0
    for match in _OPENING.finditer(sql):
        if match[1]:
            relation = match[1].lower()
            continue
        end, options = _read_options(sql, match.end())
        parts += [sql[done : match.start()], show_options(edit(relation, options))]
        done = end
    return "".join([*parts, sql[done:]])


def add_options(sql: str, options_of: Callable[[str], Options]) -> str:
    """The text with a WITH (…) for each CREATE … AS that has none."""
    return _AS.sub(lambda match: f"{match[1]} {show_options(options_of(match[2].lower()))}{match[3]}", sql)


def without_options(sql: str) -> str:
    """The text without its WITH (…), spaces folded: what an adapter must not change."""
    parts: list[str] = []
    done = 0
    for match in _OPENING.finditer(sql):
        if not match[1]:
            parts.append(sql[done : match.start()])
            done, _ = _read_options(sql, match.end())
    return " ".join(" ".join([*parts, sql[done:]]).replace(";", " ; ").split())


def show_options(options: Options) -> str:
    entries = (f"'{name}' = '{value}'" for name, value in options.items())
    return f"WITH ({', '.join(entries)})"


def _read_options(sql: str, start: int) -> tuple[int, Options]:
    """The place after the closing parenthesis, and the entries before it."""
    options: Options = {}
    while (match := _ENTRY.match(sql, start)) is not None:
        options[(match[1] or match[2]).lower()] = match[3] if match[3] is not None else match[4]
        start = match.end()
    rest = sql[start:].lstrip()
    assert rest.startswith(")"), f"not an entry of WITH: {rest[:40]}"
    return len(sql) - len(rest) + 1, options

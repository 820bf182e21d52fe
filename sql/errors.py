"""Errors by whose fault they are: the author of a query (SqlError) or a record (RecordError)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from zoneinfo import available_timezones


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of the SQL text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the SQL text: what, where, and what would help."""

    message: str
    span: Span | None = None
    hint: str | None = None


class SqlError(Exception):
    """The SQL text is wrong. Carries every problem found, each with its place.

    `str()` shows them as a user reads them: file, line and column (from 1), the line, a caret, a hint.
    """

    def __init__(self, problems: Iterable[Problem], text: str = "", file: str = "<sql>") -> None:
        self.problems = tuple(problems)
        self.text = text
        self.file = file
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(render_problem(problem, self.text, self.file) for problem in self.problems)

    def located(self, text: str, file: str) -> SqlError:
        """The same error, knowing the text it speaks of."""
        return SqlError(self.problems, text, file)


def sql_error(message: str, span: Span | None = None, hint: str | None = None) -> SqlError:
    """An SqlError with one problem."""
    return SqlError((Problem(message, span, hint),))


def render_problem(problem: Problem, text: str, file: str) -> str:
    """A problem as shown to a user; without a place it is one line."""
    hint = f"\n  hint: {problem.hint}" if problem.hint else ""
    if problem.span is None or not text:
        return f"{file}: error: {problem.message}{hint}"
    start = min(problem.span.start, len(text))
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", start)
    line = text[line_start : line_end if line_end >= 0 else len(text)]
    number = text.count("\n", 0, start) + 1
    column = start - line_start + 1
    width = max(1, min(problem.span.end, line_start + len(line)) - start)
    shown = line.replace("\t", " ")
    return f"{file}:{number}:{column}: error: {problem.message}\n  {shown}\n  {' ' * (column - 1)}{'^' * width}{hint}"


def did_you_mean_zone(name: str) -> str:
    """A hint that names a time zone."""
    hint = did_you_mean(name, available_timezones())
    return hint if hint and hint.startswith("did") else "for example 'Europe/Paris', 'UTC'"


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest known name, or lists what exists."""
    names = list(dict.fromkeys(known))
    folded = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{folded[near[0]]}`?"
    if names:
        return f"known: {', '.join(names)}"
    return None


class RecordError(Exception):
    """A record, or a value computed from it, is wrong for a query: it becomes a dead letter.

    `kind` is the class of the error, stable for users who sort dead letters by it.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class UdfError(TypeError):
    """A Python function or class cannot be a function of SQL: its author is told what, and what would help."""

"""Errors by whose fault they are: the author of a query (SqlError) or a record (RecordError)."""

from __future__ import annotations

import difflib
import unicodedata
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
    line = text[line_start : line_end if line_end >= 0 else len(text)].removesuffix("\r")
    number = text.count("\n", 0, start) + 1
    before = line[: start - line_start]
    marked = line[len(before) : problem.span.end - line_start]
    caret = " " * _width(before) + "^" * max(1, _width(marked))
    where = f"{file}:{number}:{start - line_start + 1}"
    return f"{where}: error: {printable(problem.message)}\n  {printable(line)}\n  {caret}{printable(hint)}"


_ZERO_WIDTH = ("Mn", "Me", "Cf")
"""Categories of characters that stand on the one before them."""


_SHOWN = {"Cc": " ", "Zl": " ", "Zp": " ", "Cs": "\N{REPLACEMENT CHARACTER}"}


def printable(text: str) -> str:
    """A text as a terminal can show it: a space for each control character, a mark for each half of a character."""
    return "".join(
        _SHOWN.get(unicodedata.category(character), character) if character != "\n" else character for character in text
    )


def _width(text: str) -> int:
    """The columns of a terminal that a text takes: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.category(character) in _ZERO_WIDTH else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def near_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that is written most alike; None where none is nearly so."""
    folded = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def did_you_mean_zone(name: str) -> str:
    """A hint that names a time zone."""
    hint = did_you_mean(name, available_timezones())
    return hint if hint and hint.startswith("did") else "for example 'Europe/Paris', 'UTC'"


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest known name, or lists what exists."""
    names = list(dict.fromkeys(known))
    near = near_name(name, names)
    if near is not None:
        return f"did you mean `{near}`?"
    if names:
        return f"known: {', '.join(names)}"
    return None


MESSAGE_MAX = 1_000
"""Characters of a dead letter's message: it may speak of a whole column, or of all that a user's function was given."""


class RecordError(Exception):
    """A record, or a value computed from it, is wrong for a query: it becomes a dead letter.

    `kind` is the class of the error, stable for users who sort dead letters by it.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message[:MESSAGE_MAX])


class UdfError(TypeError):
    """A Python function or class cannot be a function of SQL: its author is told what, and what would help."""

"""The text of one case of an SQL test file, with the scripts that it runs in their places."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from headrace.app.inputs import read_text
from headrace.app.testing.cases import RefusedError
from headrace.sql import syntax
from headrace.sql.errors import Problem, Span, SqlError, render_problem
from headrace.sql.parser import parse


def blanked(text: str, spans: Iterable[Span]) -> str:
    """The text with parts of it as spaces, so that everything else keeps its place."""
    for span in spans:
        text = text[: span.start] + re.sub(r"[^\n]", " ", text[span.start : span.end]) + text[span.end :]
    return text


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a file, and where in the whole it begins."""

    file: str
    text: str
    """Of the whole file."""
    start: int
    end: int
    at: int


class CaseText:
    """Statements of a case as one text, which knows the file and line of each of its parts."""

    def __init__(self, text: str, file: Path) -> None:
        """RefusedError where the text, or a script that it runs, cannot be read."""
        self._pieces = [_Piece(str(file), text, 0, len(text), 0)]
        self.text = text
        scripts = [statement for statement in self.statements() if isinstance(statement, syntax.RunScript)]
        if scripts:
            self._pieces = self._with_scripts(scripts, file)
            self.text = "".join(piece.text[piece.start : piece.end] for piece in self._pieces)

    def _with_scripts(self, scripts: list[syntax.RunScript], file: Path) -> list[_Piece]:
        pieces: list[_Piece] = []
        own, done, at = self.text, 0, 0

        def add(name: str, text: str, start: int, end: int) -> None:
            nonlocal at
            pieces.append(_Piece(name, text, start, end, at))
            at += end - start

        for script in scripts:
            path = file.parent / script.file.value
            if not path.is_file():
                raise self.refused([Problem(f"there is no file `{path}`", script.file.span)])
            add(str(file), own, done, script.span.start)
            content = read_text(path)
            content += "" if content.rstrip().endswith(";") else "\n;"
            add(str(path), content, 0, len(content))
            done = script.span.end
        add(str(file), own, done, len(own))
        return pieces

    def statements(self) -> tuple[syntax.Statement, ...]:
        """The statements in order. RefusedError where one cannot be read."""
        try:
            return parse(self.text)
        except SqlError as error:
            raise self.refused(error.problems) from None

    def refused(self, problems: Iterable[Problem]) -> RefusedError:
        """Problems of this text, as their author reads them: each with its file."""
        return RefusedError("\n".join(self._rendered(problem) for problem in problems))

    def _rendered(self, problem: Problem) -> str:
        if problem.span is None:
            return render_problem(problem, "", self._pieces[0].file)
        piece, start = self._place(problem.span)
        span = Span(start, start + problem.span.end - problem.span.start)
        return render_problem(replace(problem, span=span), piece.text, piece.file)

    def line_of(self, span: Span) -> str:
        """File and line where a part begins."""
        piece, start = self._place(span)
        return f"{piece.file}:{piece.text.count(chr(10), 0, start) + 1}"

    def _place(self, span: Span) -> tuple[_Piece, int]:
        piece = next(piece for piece in reversed(self._pieces) if piece.at <= span.start)
        return piece, piece.start + span.start - piece.at

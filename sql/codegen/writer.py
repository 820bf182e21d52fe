"""Text of generated functions: lines, indentation, names that are safe to write."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from contextlib import contextmanager

_RESERVED = frozenset(("row", "rows", "records", "task", "time", "newest", "key", "end", "acc", "partial", "error"))


def safe_name(name: str, taken: set[str]) -> str:
    """A Python identifier that resembles a name of the user's and is not taken yet; it is taken afterwards."""
    base = re.sub(r"\W", "_", name.lower(), flags=re.ASCII).strip("_") or "column"
    if base[0].isdigit() or keyword.iskeyword(base) or base in _RESERVED or not base.isascii():
        base = f"c_{base}"
    candidate, ordinal = base, 2
    while candidate in taken:
        candidate, ordinal = f"{base}_{ordinal}", ordinal + 1
    taken.add(candidate)
    return candidate


class FunctionWriter:
    """One generated function: set-up lines, a body, lines at the end."""

    def __init__(self, signature: str, doc: str) -> None:
        self.taken: set[str] = set()
        self.temporaries = [0]
        self._signature = signature
        self._doc = doc
        self._setup: dict[str, None] = {}
        self._body: list[str] = []
        self._finish: dict[str, None] = {}
        self._depth = 1

    def setup(self, line: str) -> None:
        """A line before the body; the same line again is written once."""
        self._setup[line] = None

    def finish(self, line: str) -> None:
        """A line after the body; the same line again is written once."""
        self._finish[line] = None

    def line(self, text: str) -> None:
        self._body.append(f"{'    ' * self._depth}{text}")

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """An indented block."""
        self.line(opening)
        self._depth += 1
        length = len(self._body)
        yield
        if len(self._body) == length or all(text.lstrip().startswith("#") for text in self._body[length:]):
            self.line("pass")
        self._depth -= 1

    def text(self) -> str:
        lines = [f"def {self._signature}:", f'    """{self._doc}"""']
        lines += [f"    {line}" for line in self._setup]
        lines += self._body
        lines += [f"    {line}" for line in self._finish]
        return "\n".join(lines)

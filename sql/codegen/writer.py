"""Text of generated functions: lines, indentation, names that are safe to write."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from headrace.sql.functions.scalars import FUNCTIONS
from headrace.sql.runtime import aggregates, json_access, moments, nested, times, values

_LOCAL = (
    *("row", "rows", "records", "task", "time", "newest", "key", "end", "acc", "partial", "error", "order"),
    *("group", "start", "first", "last", "entries"),
    *("partition", "offset", "record_key", "sink_key", "headers", "entries", "pane", "until", "watermark"),
)
_BOUND = (
    *("encode_key", "encode_json", "earlier", "like", "members", "conversion", "try_cast", "is_not_null"),
    *("bisect_left", "enter", "backwards", "place_in_union", "reduce", "zip_longest", "jsonable"),
    *("prepare", "prepared"),
)
_OF_FUNCTIONS = {name.__name__ for f in FUNCTIONS for signature in f.signatures for name in signature.names}
_MODULES = (builtins, values, aggregates, moments, nested, json_access, times)
_RESERVED = frozenset((*_LOCAL, *_BOUND, *_OF_FUNCTIONS, *(name for module in _MODULES for name in vars(module))))
_NUMBERED = re.compile(
    "(wait|taken|trim|groups|get|load|adopt|dirty|open|pane|panes|pane_end|pane_first|pane_last|place|hold|merge|unite|"
    "closed|rank|top|entry|keys|values|times|function|headers|routes|literal|query|format|format_instant|usable|like|"
    r"members|conversion|jsonable|out|prepare|prepared)_\d+|"
    r"uda?f_\w+"
)
"""Names that generated code uses itself: its own variables, and what it finds in its namespace."""


def _is_ours(name: str) -> bool:
    return keyword.iskeyword(name) or name in _RESERVED or _NUMBERED.fullmatch(name) is not None


def safe_name(name: str, taken: set[str]) -> str:
    """A Python identifier that resembles a name of the user's and is not taken yet; it is taken afterwards."""
    base = re.sub(r"\W", "_", name.lower(), flags=re.ASCII).strip("_") or "column"
    if base[0].isdigit() or _is_ours(base) or not base.isascii():
        base = f"c_{base}"
    if base in taken and _is_ours(f"{base}_2"):
        base = f"c_{base}"  # no number makes a name of it that is not ours
    candidate, ordinal = base, 2
    while candidate in taken or _is_ours(candidate):
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
        self.blocks = 0
        """How many blocks are open in the function that is being written."""

    def setup(self, line: str) -> None:
        """A line before the body; the same line again is written once."""
        self._setup[line] = None

    def finish(self, line: str) -> None:
        """A line after the body; the same line again is written once."""
        self._finish[line] = None

    def line(self, text: str) -> None:
        self._body.append(f"{'    ' * self._depth}{text}")

    def lines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.line(text)

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """An indented block."""
        self.line(opening)
        self._depth += 1
        outer = self.blocks
        self.blocks = 0 if opening.startswith("def ") else outer + 1
        length = len(self._body)
        yield
        if len(self._body) == length or all(text.lstrip().startswith("#") for text in self._body[length:]):
            self.line("pass")
        self._depth -= 1
        self.blocks = outer

    def text(self) -> str:
        lines = [f"def {self._signature}:", f'    """{self._doc}"""']
        lines += [f"    {line}" for line in self._setup]
        lines += self._body
        lines += [f"    {line}" for line in self._finish]
        return "\n".join(lines)


def bare(code: str) -> str:
    """Code without the parentheses around all of it."""
    if not (code.startswith("(") and code.endswith(")")):
        return code
    depth = 0
    for index, character in enumerate(code):
        depth += (character == "(") - (character == ")")
        if depth == 0 and index < len(code) - 1:
            return code
    inner = code[1:-1]
    return code if re.match(r"\w+ := ", inner) else inner


def tuple_text(parts: list[str]) -> str:
    return f"{parts[0]}," if len(parts) == 1 else ", ".join(parts)


def key_code(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"

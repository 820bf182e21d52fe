"""Writes the generated parts of README.md and docs/*.md: `python -m docs.generate`.

Generated are the tables (docs/tables.py) between `<!-- generated: NAME -->` and `<!-- end -->`, the output of every
```console run``` session, and the output of every ```python run``` block (the ```text``` block that follows it). So
what the docs show is what the code does; tests/unit/test_docs.py checks that nothing is out of date.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.tables import TABLES

from headrace.app.cli import run_command

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")))
BLOCK = re.compile(r"^```(?P<info>[a-z]+[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"(?P<begin><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


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
    text = SECTION.sub(lambda match: f"{match['begin']}\n{TABLES[match['name']]()}\n{match['end']}", text)
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


def main() -> None:
    for page in PAGES:
        text = rendered(page)
        if text != page.read_text(encoding="utf-8"):
            page.write_text(text, encoding="utf-8")
            sys.stderr.write(f"written: {page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()

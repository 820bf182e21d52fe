"""What commands print: tables and colour on a terminal, JSON lines into a pipe; errors to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from headrace.app.errors import HeadraceError

UNBOUNDED = 10_000
"""Columns of a table that goes into a file or a pipe."""


def is_terminal() -> bool:
    return sys.stdout.isatty()


def show_rows(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """One table, or one JSON line per row."""
    if is_terminal():
        show_table(title, rows)
    else:
        for row in rows:
            show_json(row)


def show_table(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """One table, as wide as it has to be where nobody's terminal bounds it."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in rows[0] if rows else ():
        is_number = isinstance(rows[0][name], int | float)
        table.add_column(name, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console(width=None if is_terminal() else UNBOUNDED).print(table)


def show_json(row: Mapping[str, object]) -> None:
    """One JSON line on stdout."""
    sys.stdout.write(orjson.dumps(row, default=str).decode() + "\n")


def show_done(text: str, facts: Mapping[str, object]) -> None:
    """What a command did: a sentence on a terminal, its facts as JSON in a pipe."""
    if is_terminal():
        show_text(text)
    else:
        show_json(facts)


def show_text(text: str) -> None:
    """A sentence on stdout."""
    Console(highlight=False).print(text, markup=False, soft_wrap=True)


def show_error(error: HeadraceError) -> None:
    """An error and its hint on stderr, every line of it."""
    show_error_text(str(error), error.hint)


def show_error_text(text: str, hint: str | None = None) -> None:
    console = Console(stderr=True, highlight=False)
    for line in text.splitlines() or [""]:
        console.print(f"[bold red]error:[/] {_escaped(line)}", soft_wrap=True)
    if hint:
        console.print(f"  [dim]hint:[/] {_escaped(hint)}", soft_wrap=True)


@contextmanager
def progress(description: str) -> Iterator[Progress]:
    """A progress bar on stderr, where that is a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        bar.add_task(description, total=None)
        yield bar


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)

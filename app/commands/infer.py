"""`headrace infer`: the CREATE STREAM that fits a topic or a file."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from headrace.app.invocation import Invocation


def register(cli: typer.Typer) -> None:
    cli.command()(infer)


def infer(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="TOPIC|FILE", help="A topic; or JSON lines or CSV with a header, also .gz; -.")
    ],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the stream.")] = None,
    count: Annotated[int, typer.Option("-n", min=1, metavar="RECORDS", help="Records to look at.")] = 1000,
) -> None:
    """Look at the first records of a topic or file, and print the CREATE STREAM that fits them."""
    invocation: Invocation = context.obj
    settings = invocation.settings()
    from headrace.app.infer import is_file, of_file, of_topic

    text = of_file(source, name, count) if is_file(source) else of_topic(settings, source, name, count)
    sys.stdout.write(text)

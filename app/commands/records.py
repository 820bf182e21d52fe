"""`headrace produce` and `headrace consume`: JSON lines to and from a topic."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from headrace.app.invocation import Invocation
from headrace.app.output import is_terminal, progress, show_done


def register(cli: typer.Typer) -> None:
    cli.command()(produce)
    cli.command()(consume)


def produce(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(metavar="TOPIC")],
    source: Annotated[
        str, typer.Option("--input", metavar="FILE", help="JSON lines, also .gz; - is stdin.", show_default=True)
    ] = "-",
    rate: Annotated[float | None, typer.Option(min=0.001, metavar="N", help="Records a second.")] = None,
    key: Annotated[str | None, typer.Option(metavar="FIELD", help="The field that is the record's key.")] = None,
    partitions: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Create the topic where it does not exist.")
    ] = None,
) -> None:
    """Write JSON lines to a topic, one JSON object a line."""
    invocation: Invocation = context.obj
    settings = invocation.settings()
    from headrace.app.inputs import opened_lines
    from headrace.app.produce import produce_lines, require_topic

    with opened_lines(source) as lines, progress(f"producing to {topic}") as bar:
        require_topic(settings, topic, partitions)

        def on_progress(sent: int) -> None:
            bar.update(bar.task_ids[0], completed=sent)

        name = "stdin" if source == "-" else source
        count = produce_lines(settings, topic, lines, source=name, key_field=key, rate=rate, on_progress=on_progress)
    show_done(f"produced {count} records to {topic}", {"topic": topic, "records": count})


def consume(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(metavar="TOPIC")],
    count: Annotated[int | None, typer.Option("-n", min=0, metavar="N", help="End after N records.")] = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="End where the topic ends now.")] = False,
) -> None:
    """Print a topic from its beginning as JSON lines: topic, partition, offset, key, value, timestamp, headers."""
    invocation: Invocation = context.obj
    settings = invocation.settings()
    from headrace.app.consume import follow, read_to_end

    envelopes = read_to_end(settings, topic) if until_end else follow(settings, topic)
    try:
        _print(itertools.islice(envelopes, count))
    except (KeyboardInterrupt, BrokenPipeError):
        # Both are how one ends to look at an endless topic. Whoever read the pipe is gone: nothing more to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(envelopes: Iterable[bytes]) -> None:
    if not is_terminal():
        for line in envelopes:
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()
        return
    from rich.console import Console
    from rich.highlighter import JSONHighlighter

    console, highlight = Console(), JSONHighlighter()
    for line in envelopes:
        console.print(highlight(line.decode()), soft_wrap=True)

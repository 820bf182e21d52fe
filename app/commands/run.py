"""`headrace run`: an app on Kafka, by supervised worker processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.app.commands.sql import UdfOption
from headrace.app.invocation import Invocation


def register(cli: typer.Typer) -> None:
    cli.command()(run)


def run(
    context: typer.Context,
    sql: Annotated[Path, typer.Argument(metavar="APP.sql", help="The app.")],
    mode: Annotated[str | None, typer.Option(metavar="partitioned|single", help="Execution mode.")] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Worker processes on this machine.")] = None,
    parallelism: Annotated[int | None, typer.Option(metavar="P", help="Partitions after a re-key.")] = None,
    udf: UdfOption = None,
    app: Annotated[str | None, typer.Option(metavar="NAME", help="The app's name; the file's stem by default.")] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="End when all that the sources hold now is committed.")
    ] = False,
) -> None:
    """Run an app on Kafka until stopped. SIGTERM and Ctrl-C drain, commit and end with exit code 0; before the end that
    --until-end waits for, with 143 and 130.
    """
    invocation: Invocation = context.obj
    settings = invocation.settings(mode=mode, workers=workers, parallelism=parallelism, udf=udf or None, app=app)
    from headrace.app.running import run_app
    from headrace.app.supervisor import Ending

    ending = Ending.WHEN_DONE if until_end else Ending.WHEN_STOPPED
    raise typer.Exit(run_app(sql, settings, ending))

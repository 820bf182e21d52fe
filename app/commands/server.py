"""`headrace server`: jobs that are deployed, watched and stopped while it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.app.invocation import Invocation


def register(cli: typer.Typer) -> None:
    cli.command()(server)


def server(
    context: typer.Context,
    http_host: Annotated[str | None, typer.Option("--host", help="Address to listen on.", show_default=False)] = None,
    http_port: Annotated[int | None, typer.Option("--port", help="Port to listen on.", show_default=False)] = None,
) -> None:
    """Run a job server: HTTP API and web dashboard; jobs are records of the topic `headrace-jobs`."""
    invocation: Invocation = context.obj
    settings = invocation.settings(http_host=http_host, http_port=http_port)
    from headrace.app.server.main import serve

    raise typer.Exit(serve(settings))

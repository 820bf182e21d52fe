"""`headrace test`: users' own tests of their apps, without Kafka."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.app.commands.sql import UdfOption
from headrace.app.errors import ExitCode, UsageError
from headrace.app.invocation import Invocation
from headrace.app.output import is_terminal, show_json

if TYPE_CHECKING:
    from headrace.app.testing.cases import Case


def register(cli: typer.Typer) -> None:
    cli.command("test")(run_tests)


def run_tests(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Test files: .yaml or .sql.")],
    chosen: Annotated[
        str | None, typer.Option("-k", metavar="TEXT", help="Only tests with this in their name.")
    ] = None,
    udf: UdfOption = None,
) -> None:
    """Run tests of apps: records in, records out, in both modes. Exit code 1 where one fails."""
    invocation: Invocation = context.obj
    settings = invocation.settings(udf=udf or None)
    from headrace.app.order import query_settings
    from headrace.app.testing.cases import load_cases
    from headrace.app.udfs import load_modules

    modules = load_modules(settings.udf)
    cases = [case for file in files for case in load_cases(file, query_settings(settings), modules)]
    wanted = [case for case in cases if chosen is None or chosen.lower() in case.name.lower()]
    if not wanted:
        raise UsageError(f"no test has `{chosen}` in its name", f"known: {', '.join(case.name for case in cases)}")
    failed = sum(not _passes(case) for case in wanted)
    passed = len(wanted) - failed
    if is_terminal():
        _print_styled(f"{passed} passed, {failed} failed", "bold red" if failed else "bold green")
    else:
        show_json({"passed": passed, "failed": failed})
    if failed:
        raise typer.Exit(ExitCode.INPUT)


def _passes(case: Case) -> bool:
    """Whether a case holds; shown at once, what is wrong on stderr."""
    from headrace.app.testing.cases import UnmetError

    failure: str | None = None
    try:
        case.check()
    except UnmetError as error:
        failure = str(error)
    if is_terminal():
        _print_styled("ok" if failure is None else "FAILED", "green" if failure is None else "red", f" {case.name}")
    else:
        result = "ok" if failure is None else "failed"
        show_json({"file": case.file, "line": case.line, "test": case.name, "result": result})
    if failure is not None:
        sys.stdout.flush()
        text = "\n".join(f"  {line}" for line in failure.splitlines())
        sys.stderr.write(f"{case.file}:{case.line}: {case.name}\n{text}\n")
    return failure is None


def _print_styled(text: str, style: str, rest: str = "") -> None:
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text.assemble((text, style), rest), soft_wrap=True)

"""The command line: global options, the commands by noun, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from headrace.agents.errors import KafkaFailure
from headrace.app.commands import bench, broker, infer, jobs, records, run, server, sql, test, topics
from headrace.app.errors import ExitCode, HeadraceError
from headrace.app.invocation import Invocation, with_global_options_first
from headrace.app.output import show_error, show_error_text
from headrace.sql.errors import SqlError

EPILOG = (
    "Global options may stand before or after the command. Every setting is also an environment variable "
    "HEADRACE_<NAME> and an entry of the --config file; a flag wins over the environment, that over the file. "
    "Exit codes: 0 done, 1 the SQL or the input is wrong, 2 wrong usage, 3 Kafka or another outside part failed."
)

cli = typer.Typer(
    name="headrace",
    help="Streaming SQL on Kafka, in Python.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.add_typer(broker.commands, name="broker")
cli.add_typer(jobs.commands, name="jobs")
cli.add_typer(bench.commands, name="bench")
for module in (sql, infer, test, run, server, topics, records):
    module.register(cli)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headrace {version('headrace')}")
        raise typer.Exit


@cli.callback()
def global_options(
    context: typer.Context,
    bootstrap_servers: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where Kafka is. [default: 127.0.0.1:9092]")
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings file.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting; may be repeated.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(metavar="text|json", help="Form of the log on stderr.")] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="debug|info|warning|error", help="Least level that is logged.")
    ] = None,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    context.obj = Invocation(bootstrap_servers, config, tuple(assignments or ()), log_format, log_level)


def main() -> None:
    """The entry point of the `headrace` command."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line to its exit code. Mistakes of users end in a message, ours in a traceback."""
    from confluent_kafka import KafkaError, KafkaException

    from headrace.app.clients import explain

    try:
        cli(with_global_options_first(arguments), prog_name="headrace")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.DONE
    except SqlError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.INPUT
    except HeadraceError as error:
        show_error(error)
        return error.exit_code
    except KafkaFailure as error:
        show_error_text(error.message, error.hint)
        return ExitCode.OUTSIDE
    except KafkaException as error:
        if isinstance(error.args[0], KafkaError) and error.args[0].code() == KafkaError._INVALID_ARG:
            show_error_text(f"kafka.<property>: {explain(error)}")  # the client could not even be made
            return ExitCode.USAGE
        show_error_text(explain(error))
        return ExitCode.OUTSIDE
    return ExitCode.DONE

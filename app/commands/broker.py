"""`headrace broker`: a real Apache Kafka for development and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headrace.app.errors import OutsideError, UsageError
from headrace.app.invocation import Invocation
from headrace.app.output import progress, show_done, show_rows

if TYPE_CHECKING:
    from headrace.app.broker import Broker

commands = typer.Typer(help="A real single-node Apache Kafka for development and tests.", no_args_is_help=True)

Port = Annotated[int, typer.Option(min=1, max=65535, help="Port of the broker on 127.0.0.1.")]
DEFAULT_PORT = 9092


@commands.command()
def start(
    context: typer.Context,
    port: Port = DEFAULT_PORT,
    secure: Annotated[bool, typer.Option("--secure", help="SASL_SSL with SCRAM-SHA-512 and a certificate.")] = False,
) -> None:
    """Start a broker in the background, wait until it answers, and say its address."""
    _check_settings(context)
    from headrace.app import broker as brokers

    security = brokers.Security.SECURE if secure else brokers.Security.PLAINTEXT
    with progress("fetching Apache Kafka") as bar:

        def on_fetch(done: int, total: int) -> None:
            bar.update(bar.task_ids[0], completed=done, total=total)

        started = brokers.start(brokers.Home.of_user(), port, security, on_fetch)
    text = f"Apache Kafka {brokers.kafka_version()} answers on {started.address}"
    if secure:
        text += f"\nclient settings: headrace --config {started.client_settings} …"
    show_done(text, _facts(started))


@commands.command()
def stop(context: typer.Context, port: Port = DEFAULT_PORT) -> None:
    """Stop a broker in order. Its topics stay for the next start."""
    _check_settings(context)
    from headrace.app import broker as brokers

    home = brokers.Home.of_user()
    found = brokers.running_on(home, port)
    if found is None:
        others = ", ".join(str(other.port) for other in brokers.running(home))
        raise UsageError(
            f"no broker of this user runs on port {port}",
            hint=f"running: {others}; choose with --port" if others else "none is running",
        )
    brokers.stop(found)
    show_done(f"stopped the broker on {found.address}", _facts(found) | {"state": "stopped"})


@commands.command()
def status(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Only this port.")] = None,
) -> None:
    """List the running brokers; with --port, exit 3 where none runs there."""
    _check_settings(context)
    from headrace.app import broker as brokers

    found = [broker for broker in brokers.running(brokers.Home.of_user()) if port in (None, broker.port)]
    if port is not None and not found:
        raise OutsideError(f"no broker runs on port {port}", hint=f"headrace broker start --port {port}")
    show_rows("running brokers" if found else "no broker is running", [_facts(broker) for broker in found])


def _facts(broker: Broker) -> dict[str, object]:
    return {
        "address": broker.address,
        "security": str(broker.security),
        "state": "running",
        "pid": broker.pid,
        "directory": str(broker.directory),
        "client_settings": str(broker.client_settings),
    }


def _check_settings(context: typer.Context) -> None:
    """These commands use no setting but those of the log; a wrong one is refused all the same."""
    invocation: Invocation = context.obj
    invocation.settings()

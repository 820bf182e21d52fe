"""`headrace topics` and `headrace reset`: the topics and the committed state of an app on Kafka."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.app.commands.sql import AppOption, ModeOption, SqlFile, load_app
from headrace.app.errors import ExitCode, UsageError
from headrace.app.invocation import Invocation
from headrace.app.output import show_rows

if TYPE_CHECKING:
    from headrace.agents.topics import Cluster
    from headrace.agents.topology import Topology
    from headrace.app.settings import Settings

ParallelismOption = Annotated[int | None, typer.Option(min=1, metavar="P", help="Partitions after a re-key.")]


def register(cli: typer.Typer) -> None:
    cli.command()(topics)
    cli.command()(reset)


def topics(
    context: typer.Context,
    sql: SqlFile,
    create: Annotated[bool, typer.Option("--create", help="Create what is missing.")] = False,
    mode: ModeOption = None,
    parallelism: ParallelismOption = None,
    app: AppOption = None,
) -> None:
    """List every topic that an app reads, writes or owns, and what is missing or wrong with it."""
    from headrace.agents.topics import ensure_topics, problems

    invocation: Invocation = context.obj
    settings = invocation.settings(mode=mode, parallelism=parallelism, app=app)
    cluster, topology = _connected(sql, settings)
    if create:
        ensure_topics(cluster, topology)
    existing = cluster.topics([topic.name for topic in topology.topics])
    found = problems(topology.topics, existing)
    wrong = {problem.topic: problem.message for problem in found}

    def state(name: str) -> str:
        return wrong.get(name) or ("ok" if name in existing else "missing; created when the app runs")

    show_rows(
        f"topics of {topology.app}",
        [
            {
                "topic": topic.name,
                "kind": str(topic.kind),
                "partitions": existing[topic.name].partitions if topic.name in existing else topic.partitions,
                "state": state(topic.name),
            }
            for topic in topology.topics
        ],
    )
    if found:
        raise typer.Exit(ExitCode.OUTSIDE)


def reset(
    context: typer.Context,
    sql: SqlFile,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    mode: ModeOption = None,
    parallelism: ParallelismOption = None,
    app: AppOption = None,
) -> None:
    """Delete an app's internal topics, local state and group offsets. Sources, sinks and dead letters stay."""
    import shutil

    from headrace.agents.topics import reset as reset_cluster

    invocation: Invocation = context.obj
    settings = invocation.settings(mode=mode, parallelism=parallelism, app=app)
    cluster, topology = _connected(sql, settings)
    state = settings.state_dir / topology.app
    internal = [topic.name for topic in topology.topics if topic.internal]
    doomed = [*(f"topic {name}" for name in internal), f"offsets of group {topology.app}", f"state in {state}"]
    sys.stderr.write("deletes:\n" + "".join(f"  {what}\n" for what in doomed))
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("reset asks before it deletes, and there is no terminal to ask on", "give --yes")
        typer.confirm("delete all this?", abort=True, err=True)
    reset_cluster(cluster, topology)
    shutil.rmtree(state, ignore_errors=True)
    sys.stderr.write("done\n")


def _connected(sql: SqlFile, settings: Settings) -> tuple[Cluster, Topology]:
    from headrace.agents.topics import Cluster
    from headrace.app.order import WorkerOrder, worker_config
    from headrace.app.running import checked_topology

    app = load_app(sql, settings)
    cluster = Cluster(worker_config(app, WorkerOrder("", str(sql), app.name, settings, {}, None, slot=0)))
    cluster.reach()
    return cluster, checked_topology(app, settings, cluster.source_partitions(app.source_topics()))

"""`headrace topics` and `headrace reset`: the topics and the committed state of an app on Kafka."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.app.commands.sql import AppOption, ModeOption, SqlFile, UdfOption, load_app
from headrace.app.errors import ExitCode, UsageError
from headrace.app.invocation import Invocation
from headrace.app.output import show_rows

if TYPE_CHECKING:
    from headrace.agents.cluster import Cluster
    from headrace.app.application import App
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
    udf: UdfOption = None,
    app: AppOption = None,
) -> None:
    """List every topic that an app reads, writes or owns, and what is missing or wrong with it."""
    from headrace.agents.topics import ensure_topics, problems
    from headrace.app.running import checked_topology, with_parallelism

    invocation: Invocation = context.obj
    settings = invocation.settings(mode=mode, parallelism=parallelism, udf=udf or None, app=app)
    loaded, cluster = _connected(sql, settings)
    settings = with_parallelism(loaded, settings, cluster)
    topology = checked_topology(loaded, settings, cluster.source_partitions(loaded.source_topics()))
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
    udf: UdfOption = None,
    app: AppOption = None,
) -> None:
    """Delete an app's internal topics, local state and group offsets. Sources, sinks and dead letters stay."""
    import shutil

    from headrace.agents.topics import internal_topics
    from headrace.agents.topics import reset as reset_cluster
    from headrace.app.running import topologies_left_behind

    invocation: Invocation = context.obj
    settings = invocation.settings(mode=mode, parallelism=parallelism, udf=udf or None, app=app)
    loaded, cluster = _connected(sql, settings)
    topologies = topologies_left_behind(loaded, settings, cluster)
    name = loaded.name
    state = settings.state_dir / name
    internal = internal_topics(topologies)
    doomed = [*(f"topic {name}" for name in internal), f"offsets of group {name}", f"state in {state}"]
    sys.stderr.write("deletes:\n" + "".join(f"  {what}\n" for what in doomed))
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("reset asks before it deletes, and there is no terminal to ask on", "give --yes")
        typer.confirm("delete all this?", abort=True, err=True)
    reset_cluster(cluster, topologies)
    shutil.rmtree(state, ignore_errors=True)
    sys.stderr.write("done\n")


def _connected(sql: SqlFile, settings: Settings) -> tuple[App, Cluster]:
    """The app, and the cluster, which answers."""
    from headrace.agents.cluster import Cluster
    from headrace.app.order import WorkerOrder, worker_config

    app = load_app(sql, settings)
    cluster = Cluster(worker_config(app, WorkerOrder.plain(app, settings)))
    cluster.reach()
    return app, cluster

"""`headrace run` on this side of the worker processes: check everything once, then supervise the workers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from headrace.agents.topics import Cluster, ensure_topics
from headrace.agents.topology import Topology, repartition_topics
from headrace.app import otel
from headrace.app.application import App
from headrace.app.errors import InputError, OutsideError
from headrace.app.inputs import read_text
from headrace.app.order import WorkerOrder, open_app, worker_config
from headrace.app.run_progress import shown_progress
from headrace.app.settings import Settings
from headrace.app.supervisor import Ending, Supervisor, WorkerProcess
from headrace.sql.binder import RESULT
from headrace.sql.plan import Aggregate, Node, walk
from headrace.sql.runtime.records import TopicPartition
from headrace.sql.syntax import Emit

WORKER_COMMAND = (sys.executable, "-m", "headrace.app.worker")


def run_app(path: Path, settings: Settings, ending: Ending) -> int:
    """Run an SQL file on Kafka until it is stopped, done or given up; the exit code.

    Raises SqlError for the text, KafkaFailure and OutsideError for the cluster and its topics, UsageError for settings.
    """
    otel.check()
    text, name = read_text(path), settings.app or path.stem
    app = open_app(text, str(path), name, settings)
    _check_runnable(app, ending)
    order = WorkerOrder(text, str(path), name, settings, {}, None, slot=0)
    cluster = Cluster(worker_config(app, order))
    cluster.reach()
    settings = with_parallelism(app, settings, cluster)
    ensure_topics(cluster, checked_topology(app, settings, cluster.source_partitions(app.source_topics())))
    order = replace(order, settings=settings, source_partitions=cluster.source_partitions(app.source_topics()))
    if ending is Ending.WHEN_DONE:
        order = replace(order, ends=_ends(cluster, order.source_partitions))

    def worker(slot: int) -> WorkerProcess:
        return WorkerProcess(WORKER_COMMAND, replace(order, slot=slot).to_json())

    supervisor = Supervisor(worker, settings.workers, ending)
    with shown_progress(settings, name, order.ends) as forward:
        supervisor.forward = forward
        return supervisor.run()


def _check_runnable(app: App, ending: Ending) -> None:
    if any(query.sink.name == RESULT for query in app.logical.queries):
        raise InputError(
            "a bare SELECT writes to the terminal, which a running app has not",
            "name its sink: CREATE STREAM … AS SELECT …; `headrace local` runs it as it is",
        )
    if app.logical.inserts:
        place = app.line_of(app.logical.inserts[0].span)
        raise InputError(
            f"{place}: INSERT INTO … VALUES would write its records again at every start",
            "write them once with `headrace produce`, or test the app with them: `headrace test`, `headrace local`",
        )
    for query in app.logical.queries:
        if ending is not Ending.WHEN_DONE and any(map(_waits_for_the_end, walk(query.node))):
            raise InputError(
                f"query `{query.name}` has EMIT FINAL and no window: it would write at the end of an endless run",
                "EMIT CHANGES writes as it goes, a window closes, --until-end ends the run",
            )


def _waits_for_the_end(node: Node) -> bool:
    return isinstance(node, Aggregate) and node.window is None and node.emit is Emit.FINAL


def with_parallelism(app: App, settings: Settings, cluster: Cluster) -> Settings:
    """The settings with the parallelism that the app has on the cluster, where nobody asks for another.

    By default it is the largest source partition count, and stays what it is when a source gets more partitions.
    """
    if settings.parallelism is not None or "parallelism" in app.settings:
        return settings
    counts = set(cluster.source_partitions(repartition_topics(app.name, app.plan(settings.mode))).values())
    return settings.model_copy(update={"parallelism": counts.pop()}) if len(counts) == 1 else settings


def checked_topology(app: App, settings: Settings, source_partitions: Mapping[str, int]) -> Topology:
    """The topology over the source topics as they are; OutsideError for one that is missing and not declared."""
    try:
        return app.topology(settings.mode, source_partitions, settings.parallelism)
    except KeyError as error:
        raise OutsideError(
            f"source topic {error.args[0]!r} does not exist",
            hint="create it, or declare its number of partitions: WITH (partitions = …)",
        ) from error


def _ends(cluster: Cluster, source_partitions: Mapping[str, int]) -> Mapping[TopicPartition, int]:
    """Where a finite run ends: the end offsets of this moment."""
    return cluster.end_offsets(
        [TopicPartition(topic, number) for topic, count in source_partitions.items() for number in range(count)]
    )

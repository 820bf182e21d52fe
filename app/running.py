"""`headrace run` on this side of the worker processes: check everything once, then supervise the workers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from headrace.agents.cluster import Cluster
from headrace.agents.topics import ensure_topics
from headrace.agents.topology import NOT_DIVERTED, Topology, repartition_topics
from headrace.app import otel
from headrace.app.application import App
from headrace.app.errors import InputError, OutsideError, UsageError
from headrace.app.inputs import read_text
from headrace.app.order import WorkerOrder, open_app, worker_config
from headrace.app.run_progress import shown_progress
from headrace.app.settings import Settings
from headrace.app.supervisor import Ending, Supervisor, WorkerProcess
from headrace.sql.binder import RESULT
from headrace.sql.physical import Mode
from headrace.sql.plan import Aggregate, Node, walk
from headrace.sql.runtime.records import TopicPartition
from headrace.sql.vocabulary import Emit

WORKER_COMMAND = (sys.executable, "-m", "headrace.app.worker")


def run_app(path: Path, settings: Settings, ending: Ending) -> int:
    """Run an SQL file on Kafka until it is stopped, done or given up; the exit code.

    Raises what `order_workers` raises, and UsageError for what only a job server honours.
    """
    otel.check()
    _check_unprotected(settings)
    order = order_workers(read_text(path), str(path), settings.app or path.stem, settings, ending)
    supervisor = Supervisor(worker_of(order), order.settings.workers, ending)
    with shown_progress(order.settings, order.app, order.ends) as forward:
        supervisor.forward = forward
        return supervisor.run()


def _check_unprotected(settings: Settings) -> None:
    """The endpoints of workers only tell, and are open to whoever reaches them: nobody is to think they are not."""
    if given := [
        name
        for name in ("http_token", "http_tls_certificate", "http_tls_key", "http_rate")
        if name in settings.model_fields_set
    ]:
        raise UsageError(
            f"{', '.join(given)}: of `headrace server` only; the endpoints of a worker have no protection of their own",
            "http_host=127.0.0.1 keeps them to this machine, http_port=0 has none",
        )


def order_workers(
    text: str,
    file: str,
    name: str,
    settings: Settings,
    ending: Ending,
    diverted: Mapping[str, str | None] = NOT_DIVERTED,
) -> WorkerOrder:
    """Check an app and its topics, create what is missing, and look up what its workers have to agree on. Blocks.

    Raises SqlError for the text, KafkaFailure and OutsideError for the cluster and its topics, InputError and
    UsageError for what cannot be run so.
    """
    app = open_app(text, file, name, settings)
    check_runnable(app, ending)
    order = WorkerOrder(text, file, name, settings, {}, None, slot=0)
    cluster = Cluster(worker_config(app, order))
    cluster.reach()
    settings = with_parallelism(app, settings, cluster)
    sources = cluster.source_partitions(app.source_topics())
    ensure_topics(cluster, checked_topology(app, settings, sources, diverted))
    sources = cluster.source_partitions(app.source_topics())  # those that were missing are there now
    order = replace(order, settings=settings, source_partitions=sources, diverted=diverted)
    if ending is Ending.WHEN_DONE:
        order = replace(order, ends=_ends(cluster, order.source_partitions))
    return order


def worker_of(order: WorkerOrder) -> Callable[[int], WorkerProcess]:
    """How the worker of each slot is started."""
    return lambda slot: WorkerProcess(WORKER_COMMAND, replace(order, slot=slot).to_json())


def check_runnable(app: App, ending: Ending) -> None:
    """InputError for what makes sense on finite data only."""
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


def checked_topology(
    app: App,
    settings: Settings,
    source_partitions: Mapping[str, int],
    diverted: Mapping[str, str | None] = NOT_DIVERTED,
) -> Topology:
    """The topology over the source topics as they are; OutsideError for one that is missing and not declared."""
    try:
        return app.topology(settings.mode, source_partitions, settings.parallelism, diverted)
    except KeyError as error:
        raise OutsideError(
            f"source topic {error.args[0]!r} does not exist",
            hint="create it, or declare its number of partitions: WITH (partitions = …)",
        ) from error


def topologies_left_behind(app: App, settings: Settings, cluster: Cluster) -> list[Topology]:
    """The app's topology in each mode, for what goes by name when it is deleted: a source may be gone already.

    What the other mode has left behind would be taken for its state if the app ever went back to it.
    """
    # The names are the same for any count but one: the only task of a source has none to hear of.
    sources = dict.fromkeys(app.source_topics(), 2) | cluster.source_partitions(app.source_topics())
    return [app.topology(mode, sources, settings.parallelism) for mode in Mode]


def _ends(cluster: Cluster, source_partitions: Mapping[str, int]) -> Mapping[TopicPartition, int]:
    """Where a finite run ends: the end offsets of this moment."""
    return cluster.end_offsets(
        [TopicPartition(topic, number) for topic, count in source_partitions.items() for number in range(count)]
    )

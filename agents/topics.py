"""The topics of an app: create what is missing, verify what is there, delete what is the app's own. Blocks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from headrace.agents.cluster import REQUEST_S, Cluster, TopicState
from headrace.agents.errors import KafkaFailure
from headrace.agents.topology import TopicKind, TopicSpec, Topology

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """Why a topic does not serve the app: missing, or with other partitions or configuration than needed."""

    topic: str
    message: str
    hint: str
    fatal: bool = True
    """Whether the app cannot run so; a topic that somebody else owns may be configured as they like."""


def problems(specs: Iterable[TopicSpec], existing: Mapping[str, TopicState]) -> list[TopicProblem]:
    """Everything that keeps the topics from serving the app, topics that it would create itself left out."""
    found: list[TopicProblem] = []
    for spec in specs:
        state = existing.get(spec.name)
        if state is None:
            found += _missing(spec)
        else:
            found += _differing(spec, state)
    return found


def _missing(spec: TopicSpec) -> list[TopicProblem]:
    if spec.partitions is not None:
        return []
    hint = "create it, or declare its number of partitions: WITH (partitions = …)"
    return [TopicProblem(spec.name, f"{spec.kind.value} topic {spec.name!r} does not exist", hint)]


def _differing(spec: TopicSpec, state: TopicState) -> list[TopicProblem]:
    found = []
    has_grown = spec.kind is TopicKind.SOURCE and state.partitions > (spec.partitions or 0)
    if spec.exact and spec.partitions is not None and spec.partitions != state.partitions and not has_grown:
        message = f"topic {spec.name!r} has {state.partitions} partitions, the app needs {spec.partitions}"
        if spec.kind is TopicKind.CHANGELOG:
            hint = "the state was made with another parallelism, or a source grouped by its KEY had other partitions; "
            hint += "`headrace reset` starts over"
        elif spec.internal:
            hint = "`headrace reset` recreates it"
        else:
            hint = "declare as many as it has, or recreate it"
        found.append(TopicProblem(spec.name, message, hint))
    for name, value in spec.config.items():
        if (actual := state.config.get(name)) is not None and not _same_config(actual, value):
            message = f"topic {spec.name!r} has {name} = {actual}, the app needs {value}"
            hint = f"set it with `kafka-configs --alter --topic {spec.name}`"
            found.append(TopicProblem(spec.name, message, hint, fatal=spec.internal))
    return found


def _same_config(actual: str, wanted: str) -> bool:
    return set(actual.split(",")) == set(wanted.split(","))


def ensure_topics(cluster: Cluster, topology: Topology) -> dict[str, TopicState]:
    """Create what is missing and verify what exists, before anything subscribes; the topics as they now are."""
    specs = topology.topics
    names = [spec.name for spec in specs]
    existing = cluster.topics(names)
    _judge(specs, existing)
    missing = [spec for spec in specs if spec.name not in existing]
    if missing:
        cluster.create(missing)
        existing |= _await_topics(cluster, [spec.name for spec in missing])
        _judge(specs, existing)
    return existing


def _judge(specs: Sequence[TopicSpec], existing: Mapping[str, TopicState]) -> None:
    found = problems(specs, existing)
    for problem in found:
        if not problem.fatal:
            log.warning(problem.message, hint=problem.hint)
    if errors := [problem for problem in found if problem.fatal]:
        raise KafkaFailure("; ".join(error.message for error in errors), errors[0].hint)


def _await_topics(cluster: Cluster, names: Sequence[str]) -> dict[str, TopicState]:
    """Topics just created, once the cluster tells of them."""
    deadline = time.monotonic() + REQUEST_S
    while time.monotonic() < deadline:
        if len(found := cluster.topics(names)) == len(set(names)):
            return found
        time.sleep(0.05)
    raise KafkaFailure(f"topics were created but do not appear: {', '.join(names)}")


def reset(cluster: Cluster, topologies: Iterable[Topology]) -> None:
    """Delete what the app owns on the cluster: its internal topics in each mode, and its group offsets."""
    cluster.delete_group()
    cluster.delete(internal_topics(topologies))


def internal_topics(topologies: Iterable[Topology]) -> list[str]:
    """Names of the topics that are the app's own, each once."""
    return list(dict.fromkeys(spec.name for topology in topologies for spec in topology.topics if spec.internal))

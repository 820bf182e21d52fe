"""Which member of the group runs which task: a pure function, and the Faust assignor that wraps it.

Every member says in its JoinGroup data which plan it runs, which tasks it owns, whose state its disk holds, how many
partitions of the sources it knows, its own name and the names of the members it knew. The leader gives each stage's
tasks out evenly, to their owners as far as that is even, and has those fenced that are gone. An app in mode single has
one task, so one member gets everything and the others stand by.

Where a source has got more partitions, whoever sees it in the metadata has the group join again. The leader lays the
topology out anew, and every member takes over, with its assignment, how many partitions it is made for.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from faust.assignor import PartitionAssignor
from faust.types import TP

from headrace.agents.topology import GrowthRefused, TaskId, Topology, grown
from headrace.sql.runtime.records import TopicPartition

PROTOCOL_VERSION = 2


@dataclass(frozen=True, slots=True)
class Member:
    """A worker as the group's leader sees it."""

    id: str
    plan_version: str
    generation: int = -1
    """Of the group when the member last owned tasks: where two claim a task, the newer claim counts."""
    owned: frozenset[TaskId] = frozenset()
    held: frozenset[TaskId] = frozenset()
    """Tasks of which the member's state directory has something, from an earlier life."""
    worker: str = ""
    """Name of the worker, which outlives its process."""
    known: frozenset[str] = frozenset()
    """Workers that were members in the generation before."""
    source_partitions: Mapping[str, int] = field(default_factory=dict)
    """As many as the member reads or sees."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the leader decided: tasks by member id, and the members that may not take part, with the reason."""

    tasks: Mapping[str, frozenset[TaskId]]
    refused: Mapping[str, str] = field(default_factory=dict)
    workers: frozenset[str] = frozenset()
    """All members."""
    gone: frozenset[str] = frozenset()
    """Workers that were members and are not any more."""


class Verdict(msgspec.Struct, frozen=True):
    """What the leader tells one member besides its partitions."""

    refused: str = ""
    """Why the member may not take part."""
    workers: list[str] = []
    """All members."""
    fence: list[str] = []
    """Workers that are gone, which this member is to fence."""
    source_partitions: dict[str, int] = {}
    """As the assignment is made for."""


def assign(members: Sequence[Member], tasks: Iterable[TaskId]) -> Assignment:
    """Give every task to one member that runs the group's plan.

    Balanced: the number of tasks of any two members differs by one at most, in all and within each stage. Sticky: a
    task stays with its owner wherever balance allows; with the same members and tasks nothing moves. Does not depend
    on the order of its arguments.
    """
    plan_version = _plan_of_group(members)
    eligible = sorted((m for m in members if m.plan_version == plan_version), key=lambda m: m.id)
    refused = {m.id: _refusal(m, plan_version) for m in members if m.plan_version != plan_version}
    owners = _owners(eligible)
    given: dict[str, set[TaskId]] = {member.id: set() for member in eligible}
    for _, stage_tasks in sorted(_by_stage(tasks).items()):
        _give_stage(sorted(stage_tasks), owners, given)
    workers = frozenset(m.worker for m in members if m.worker)
    gone = frozenset(worker for m in members for worker in m.known) - workers
    return Assignment({id_: frozenset(mine) for id_, mine in given.items()}, refused, workers, gone)


def _plan_of_group(members: Sequence[Member]) -> str:
    """The plan of those who own most tasks; where nobody owns any, of most members."""
    weights: dict[str, tuple[int, int]] = {}
    for member in members:
        owned, count = weights.get(member.plan_version, (0, 0))
        weights[member.plan_version] = (owned + len(member.owned), count + 1)
    return max(sorted(weights), key=lambda version: weights[version])


def _refusal(member: Member, plan_version: str) -> str:
    return (
        f"the group runs plan {plan_version}, this worker was started with plan {member.plan_version or 'unknown'}: "
        "a changed query, mode or parallelism needs `headrace reset`, after the other workers are stopped; a changed "
        "guarantee only that they are stopped"
    )


def _owners(members: Sequence[Member]) -> dict[TaskId, str]:
    owners: dict[TaskId, str] = {}
    for member in members:
        for task in member.held:
            owners.setdefault(task, member.id)
    for member in sorted(members, key=lambda m: m.generation):
        owners.update(dict.fromkeys(member.owned, member.id))
    return owners


def _by_stage(tasks: Iterable[TaskId]) -> dict[str, list[TaskId]]:
    stages: dict[str, list[TaskId]] = defaultdict(list)
    for task in tasks:
        stages[task.stage].append(task)
    return stages


def _give_stage(tasks: Sequence[TaskId], owners: Mapping[TaskId, str], given: dict[str, set[TaskId]]) -> None:
    """Give one stage's tasks out; who has the fewest tasks so far takes one of the odd ones."""
    share, odd = divmod(len(tasks), len(given))
    owned = Counter(owners.get(task) for task in tasks)
    in_need = sorted(given, key=lambda id_: (len(given[id_]), -owned[id_], id_))
    quota = {id_: share + (rank < odd) for rank, id_ in enumerate(in_need)}
    homeless = []
    for task in tasks:
        owner = owners.get(task)
        if owner is not None and quota.get(owner, 0) > 0:
            quota[owner] -= 1
            given[owner].add(task)
        else:
            homeless.append(task)
    takers = [id_ for id_ in in_need for _ in range(quota[id_])]
    for task, taker in zip(homeless, takers, strict=True):
        given[taker].add(task)


def member_data(member: Member) -> bytes:
    """A member's JoinGroup user data."""
    return json.dumps(
        {
            "version": PROTOCOL_VERSION,
            "plan": member.plan_version,
            "generation": member.generation,
            "owned": sorted((t.stage, t.partition) for t in member.owned),
            "held": sorted((t.stage, t.partition) for t in member.held),
            "worker": member.worker,
            "known": sorted(member.known),
            "source_partitions": dict(member.source_partitions),
        }
    ).encode()


def read_member(member_id: str, data: bytes | None) -> Member:
    """The member that wrote this user data; one without a plan where something else joined the group."""
    try:
        fields = json.loads(data or b"")
        return Member(
            member_id,
            str(fields["plan"]),
            int(fields["generation"]),
            frozenset(TaskId(stage, partition) for stage, partition in fields["owned"]),
            frozenset(TaskId(stage, partition) for stage, partition in fields["held"]),
            str(fields["worker"]),
            frozenset(map(str, fields["known"])),
            {str(topic): int(count) for topic, count in fields["source_partitions"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Member(member_id, "")


class TaskAssignor(PartitionAssignor):
    """Speaks Kafka's group protocol for `assign`: tasks in, partitions out."""

    def __init__(
        self,
        app: Any,
        topology: Topology,
        me: Callable[[], Member],
        hold: Callable[[], None],
        refuse: Callable[[str], None],
        *,
        endless: bool,
    ) -> None:
        """`me` is asked at each join. In the consumer's thread, `hold` is called as soon as partitions are assigned,
        and `refuse` is told why we are out. A finite run (not `endless`) reads the partitions that it began with.
        """
        super().__init__(app)
        self.topology = topology
        """As of the last assignment."""
        self._endless = endless
        self._me = me
        self._hold = hold
        self._refuse = refuse
        self.verdict = Verdict()
        """What the leader said last."""

    @property
    def name(self) -> str:
        return "headrace"

    @property
    def version(self) -> int:
        return PROTOCOL_VERSION

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        me = replace(self._me(), generation=self.app.consumer_generation_id, known=frozenset(self.verdict.workers))
        return ConsumerProtocolMemberMetadata(self.version, list(topics), member_data(me))

    def assign(
        self,
        cluster: Any,  # noqa: ARG002 (the members have seen more of it)
        member_metadata: Mapping[str, ConsumerProtocolMemberMetadata],
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        members = [read_member(id_, metadata.user_data) for id_, metadata in member_metadata.items()]
        counts = self._source_partitions(members)
        try:
            topology = grown(self.topology, counts)
        except GrowthRefused as refusal:
            return {member.id: _protocol_assignment((), Verdict(str(refusal))) for member in members}
        inputs = {spec.id: spec.inputs for spec in topology.tasks}
        assignment = assign(members, inputs)
        first = min(assignment.tasks)
        return {
            member.id: _protocol_assignment(
                [partition for task in assignment.tasks.get(member.id, ()) for partition in inputs[task]],
                Verdict(
                    assignment.refused.get(member.id, ""),
                    sorted(assignment.workers),
                    sorted(assignment.gone) if member.id == first else [],
                    counts,
                ),
            )
            for member in members
        }

    def _source_partitions(self, members: Sequence[Member]) -> dict[str, int]:
        """How many partitions each source has: those that some member has seen."""
        known = dict(self.topology.source_partitions)
        if self._endless:
            for topic in known:
                known[topic] = max(known[topic], *(m.source_partitions.get(topic, 0) for m in members))
        return known

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        self._hold()
        self._active_tps = {TP(*partition) for partition in assignment.partitions()}
        self.verdict = msgspec.json.decode(assignment.user_data or b"{}", type=Verdict)
        if self.verdict.refused:
            self._refuse(self.verdict.refused)
        else:
            self.topology = grown(self.topology, self.verdict.source_partitions)

    def assigned_actives(self) -> set[TP]:
        return self._active_tps

    def assigned_standbys(self) -> set[TP]:
        return set()


def _protocol_assignment(partitions: Iterable[TopicPartition], verdict: Verdict) -> ConsumerProtocolMemberAssignment:
    by_topic: dict[str, list[int]] = defaultdict(list)
    for topic, partition in sorted(partitions):
        by_topic[topic].append(partition)
    return ConsumerProtocolMemberAssignment(PROTOCOL_VERSION, list(by_topic.items()), msgspec.json.encode(verdict))

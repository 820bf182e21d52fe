"""A job is rebuilt beside the version that runs: the new one makes all anew, catches up, and takes over.

The new version reads no further than the old one, and what it makes waits in topics of its own (`transfer.py`). When it
has caught up, a server claims the switch, by a record. Then both versions stop to read, and end when all that they have
read is done; the results of the new one go into the sinks together with the record that makes it the only one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from headrace.agents.checkpoint import read_metadata
from headrace.agents.cluster import Cluster
from headrace.agents.errors import KafkaFailure
from headrace.agents.following import NOWHERE, Reached
from headrace.agents.topology import repartition_topics
from headrace.app.application import App
from headrace.app.errors import HeadraceError
from headrace.app.order import WorkerOrder, worker_config
from headrace.app.server.jobs import Job, Wanted
from headrace.app.server.runner import Runner, State, Told
from headrace.app.server.switches import CLAIM_S, RENEW_S, Switches
from headrace.app.settings import Settings
from headrace.sql.physical import SourceInput
from headrace.sql.runtime.records import TopicPartition

log = structlog.get_logger(__name__)

LOOK_S = 1.0
SWITCHING_LOOK_S = 0.2
"""Between two looks while both versions stand still."""
MARGIN_S = 0.5
STUCK_S = 60.0
"""How long the versions may take to stand at the same place once they read no further, beside the time in which they
commit; then they go on."""
BACK_OFF_S = 30.0
"""After a switch that failed, until the next one; twice as long each time."""
BACK_OFF_MAX_S = 1800.0


@dataclass(frozen=True, slots=True)
class Seen:
    """Where the two versions stand."""

    led: Sequence[TopicPartition]
    """Source partitions that the old version reads."""
    old: Mapping[TopicPartition, Reached]
    """Where it stands in those that both read; where it has read nothing, the new one stands right anywhere."""
    new: Mapping[TopicPartition, Reached]
    ends: Mapping[TopicPartition, int]
    """Of source partitions that only the new version reads."""

    @property
    def behind(self) -> int:
        """Records that the new version has yet to read."""
        targets = {partition: at.next_offset for partition, at in self.old.items()} | dict(self.ends)
        return sum(max(0, at - self.new.get(p, NOWHERE).next_offset) for p, at in targets.items())

    def caught_up_with(self, before: Seen) -> bool:
        """Whether the new version has come to where the old one was a while ago, and knows as well what is idle."""
        reached = all(self.new.get(p, NOWHERE).next_offset >= at.next_offset for p, at in before.old.items())
        read = all(self.new.get(p, NOWHERE).next_offset >= at for p, at in before.ends.items())
        return reached and read and self.idle_alike

    @property
    def stand_alike(self) -> bool:
        return all(self.new.get(p, NOWHERE).next_offset == at.next_offset for p, at in self.old.items())

    @property
    def idle_alike(self) -> bool:
        return all(self.new.get(p, NOWHERE).is_idle == at.is_idle for p, at in self.old.items())


class Rebuild:
    """One job's rebuild on one server. Belongs to a running event loop. `old` goes on until the switch."""

    def __init__(
        self, switches: Switches, settings: Settings, job: Job, apps: tuple[App, App], old: Runner, tell: Told
    ) -> None:
        """`apps` are those of the old version and of the new one."""
        assert job.replaced is not None, "a rebuild replaces something"
        self.apps = apps
        self.runner = Runner(settings, tell)
        self.seen: Seen | None = None
        self.reason: str | None = None
        """Why it does not go on."""
        self._switches = switches
        self._settings = settings
        self._job = job
        self._old = old
        self._sides = _Side(job.replaced, apps[0], settings), _Side(job, apps[1], settings)
        self._still_since: float | None = None
        """When both versions came to stand at the same place."""
        self._phase_since = self._renewed_at = time.monotonic()
        self._has_stopped = False
        self._back_off_s = BACK_OFF_S
        self._claims_from = 0.0
        """When the next switch may be tried."""
        if job.record.switched_by is None:
            old.become(job.replaced)
        self._keeping = asyncio.create_task(self._keep())
        self._keeping.add_done_callback(self._broke)

    def become(self, job: Job, app: App) -> None:
        """The next version of the record, of the same generation, and its app."""
        before, self._job = self._job.record, job
        self._renewed_at = time.monotonic()
        if job.record.switched_by != before.switched_by:
            self._still_since, self._has_stopped = None, False
            self._phase_since = time.monotonic()
            if job.record.switched_by is None:
                self._old.follow({})
        elif job.record == before.model_copy(update={"version": job.version}):
            return  # it is only said once more
        if job.record.sql != before.sql or job.record.settings != before.settings or job.record.mode != before.mode:
            self.apps = self.apps[0], app
            self._sides = self._sides[0], _Side(job, app, self._settings)
            self.seen = None
        if not self._has_stopped:
            self._go_on()

    def _go_on(self) -> None:
        if self.seen is not None or self._job.record.switched_by is None:
            self._old.become(self.replaced)
        if self.seen is not None:  # until then it does not know how far it may read
            self.runner.become(self._job)

    @property
    def job(self) -> Job:
        """The version that is made anew."""
        return self._job

    @property
    def generation(self) -> int:
        return self._job.record.generation

    @property
    def _quiet_s(self) -> float:
        """Nobody holds anything back for longer: what was read shows by then."""
        both = (self._job, self.replaced)
        return 2 * max(each.settings(self._settings).commit_interval.total_seconds() for each in both) + MARGIN_S

    @property
    def replaced(self) -> Job:
        """The version that does the work."""
        assert self._job.replaced is not None
        return self._job.replaced

    async def close(self) -> None:
        """Look no more. The runner goes on."""
        self._keeping.cancel()
        await asyncio.wait((self._keeping,))

    async def _keep(self) -> None:
        while True:
            try:
                await self._step()
            except (HeadraceError, KafkaFailure) as error:
                self._tell(str(error))
            await asyncio.sleep(LOOK_S if self._job.record.switched_by is None else SWITCHING_LOOK_S)

    def _broke(self, keeping: asyncio.Task[None]) -> None:
        """Our own mistake is no reason to harm other jobs, nor the version that does the work."""
        if not keeping.cancelled() and (error := keeping.exception()) is not None:
            log.error("a rebuild is not looked after any more", job=self._job.name, exc_info=error)
            self.reason = f"internal error: {error}"

    def _tell(self, reason: str) -> None:
        if reason != self.reason:  # what lasts is told once
            log.warning("a rebuild does not go on at the moment", job=self._job.name, reason=reason)
        self.reason = reason

    async def _step(self) -> None:
        before, sides = self.seen, self._sides
        seen = await asyncio.to_thread(_look, *sides)
        if sides is not self._sides:
            return  # it is another version by now
        is_switching = self._job.record.switched_by is not None
        self.runner.follow({**seen.old, **(dict.fromkeys(seen.ends, NOWHERE) if is_switching else {})})
        if is_switching:
            self._old.follow(dict.fromkeys(seen.led, NOWHERE))
        self.seen = seen
        if before is None:
            self._go_on()
        elif is_switching:
            await self._switch(before, seen)
        elif time.monotonic() >= self._claims_from:
            self.reason = None
            is_ready = self._job.record.wanted is Wanted.RUNNING and self.runner.state is State.RUNNING
            if is_ready and seen.caught_up_with(before):
                await self._switches.claim(self._job)

    # The switch

    async def _switch(self, before: Seen, seen: Seen) -> None:
        now, job = time.monotonic(), self._job
        is_ours = self._switches.is_ours(job)
        if is_ours and now - self._renewed_at > RENEW_S:
            await self._switches.renew(job.name)
        elif not is_ours and now - self._renewed_at > CLAIM_S:
            await self._switches.claim(job)
            return
        if not self._has_stopped:
            await self._stop_where_all_is_done(before, seen)
        elif is_ours and seen.stand_alike and await asyncio.to_thread(self._is_over):
            try:
                await self._switches.switch(job, self.apps)
            except (HeadraceError, KafkaFailure) as error:
                await self._give_up(str(error))
            return
        if now - self._phase_since > STUCK_S + 2 * self._quiet_s:
            await self._give_up("the versions did not come to stand at the same place")

    async def _stop_where_all_is_done(self, before: Seen, seen: Seen) -> None:
        now = time.monotonic()
        if (before.old, before.new) != (seen.old, seen.new) or not (seen.stand_alike and seen.idle_alike):
            self._still_since = None
        elif self._still_since is None:
            self._still_since = now
        elif now - self._still_since > self._quiet_s and await asyncio.to_thread(self._is_drained):
            self._has_stopped = True
            self._old.become(self.replaced.stopped())
            self.runner.become(self._job.stopped())

    def _is_drained(self) -> bool:
        """Whether nothing is on its way between stages; in a version that failed, it stays there."""
        old, new = self._sides
        return new.is_drained() and (self._old.state is State.FAILED or old.is_drained())

    def _is_over(self) -> bool:
        """Whether neither version runs, on any server, and both still stand where they stood."""
        if any(side.cluster.has_members() for side in self._sides):
            return False
        return _look(*self._sides, for_good=True).stand_alike

    async def _give_up(self, reason: str) -> None:
        """Have both versions go on, and try again later."""
        self._tell(f"it did not take over, and tries again in {self._back_off_s:.0f} s: {reason}")
        self._claims_from = time.monotonic() + self._back_off_s
        self._back_off_s = min(2 * self._back_off_s, BACK_OFF_MAX_S)
        if self._switches.is_ours(self._job):
            await self._switches.release(self._job.name)


class _Side:
    """One of the versions on the cluster. Its methods block."""

    def __init__(self, job: Job, app: App, server: Settings) -> None:
        plan = app.plan(job.record.mode)
        self.by_wall_time = {
            stage.input.source.topic
            for stage in plan.stages
            if isinstance(stage.input, SourceInput) and stage.input.source.event_time.processing
        }
        """Sources of which no partition is ever idle."""
        self.cluster = Cluster(worker_config(app, WorkerOrder.plain(app, job.settings(server))))
        self._sources = app.source_topics()
        self._between = repartition_topics(app.name, plan)

    def sources(self) -> dict[str, list[TopicPartition]]:
        """All partitions of each source that there is."""
        return self._partitions(self._sources)

    def _partitions(self, topics: Collection[str]) -> dict[str, list[TopicPartition]]:
        counts = self.cluster.source_partitions(topics)
        return {topic: [TopicPartition(topic, n) for n in range(count)] for topic, count in counts.items()}

    def reached(self, partitions: list[TopicPartition], *, for_good: bool) -> dict[TopicPartition, Reached]:
        """Where it stands; `for_good`: with nothing under way that would bring it further."""
        cluster = self.cluster
        found = cluster.committed(partitions) if for_good else cluster.committed_so_far(partitions)
        return {p: Reached(at.next_offset, read_metadata(at).idle) for p, at in found.items()}

    def is_drained(self) -> bool:
        """Whether no rows are on their way between stages."""
        partitions = [each for of_topic in self._partitions(self._between).values() for each in of_topic]
        committed = self.cluster.committed_so_far(partitions)
        return all(
            end == 0 or (p in committed and committed[p].next_offset >= end)
            for p, end in self.cluster.end_offsets(partitions).items()
        )


def _look(old: _Side, new: _Side, *, for_good: bool = False) -> Seen:
    led, mine = old.sources(), new.sources()
    shared = [partition for topic, of_topic in led.items() if topic in mine for partition in of_topic]
    free = [partition for topic, of_topic in mine.items() if topic not in led for partition in of_topic]
    reached = old.reached(shared, for_good=for_good)
    found = new.reached(shared + free, for_good=for_good)
    begins = new.cluster.begin_offsets(shared)
    stands: dict[TopicPartition, Reached] = {}
    for partition in shared:
        at = reached.get(partition)
        if at is None:
            at = found.get(partition, NOWHERE)
        is_idle = at.is_idle and partition.topic not in new.by_wall_time
        # Records that are gone will be read by neither.
        offset = max(at.next_offset, begins[partition]) if partition in reached else at.next_offset
        stands[partition] = Reached(offset, is_idle)
    return Seen([p for of_topic in led.values() for p in of_topic], stands, found, new.cluster.end_offsets(free))

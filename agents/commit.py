"""The one place where a worker's commit happens: outputs, state changes and positions of all its tasks together.

At least once, in this order: outputs and changelog are produced and acknowledged; the group offsets are committed
through the group member that read the records, so that a worker the group has given up cannot move them; the stores
are written. A crash between any two of these repeats work and loses none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from headrace.agents.producer import OutputProducer
from headrace.sql.runtime.records import Change, Cut, Position, Store, TopicPartition

if TYPE_CHECKING:
    from headrace.agents.task import Task

CommitPositions = Callable[[Mapping[TopicPartition, Position]], Awaitable[None]]
"""Commits group offsets with metadata; raises Fenced."""
ConfirmMembership = Callable[[], Awaitable[None]]
"""Raises Fenced where the group has gone on without this worker."""


@dataclass(slots=True)
class OpenTask:
    """A task that a worker runs, and where its inputs, its changelog and its group offsets stand."""

    task: Task
    store: Store | None
    changelog_end: int
    """Changelog offset behind everything that this task has committed: no record below it is missing in the store."""
    expected: dict[TopicPartition, int]
    """Offset at which the next batch of each input has to start."""
    group_offsets: dict[TopicPartition, int | None]
    """What the group has committed, as far as this worker knows."""
    repairs: Sequence[Change] = ()
    """State changes that the first commit has to write before its own."""
    ended: set[TopicPartition] = field(default_factory=set)
    """Inputs of a finite run that will bring nothing more."""

    def cut(self) -> Cut | None:
        cut = self.task.cut()
        if cut is not None and self.repairs:
            cut = replace(cut, changelog=[*self.repairs, *cut.changelog])
            self.repairs = ()
        return cut

    def close(self) -> None:
        if self.store is not None:
            self.store.close()


class Committer:
    """Commits tasks, one commit at a time. `Task.cut` is called only when everything cut before is in the store."""

    def __init__(
        self, producer: OutputProducer, confirm_membership: ConfirmMembership, commit_positions: CommitPositions
    ) -> None:
        self._producer = producer
        self._confirm_membership = confirm_membership
        self._commit_positions = commit_positions
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self.flushing = False
        """Outputs must wait in their tasks: a flush waits for every record, so none may be added."""
        self.commits = 0
        self.commit_s = 0.0

    async def commit(self, tasks: Collection[OpenTask]) -> bool:
        """Make durable what the tasks did since their last cut; whether there was anything.

        Goes on to its end even where the caller is cancelled. Raises KafkaFailure, UnsendableState, StateFailure,
        and Fenced where the group went on without this worker; after any of them the tasks must be dropped.
        """
        return await asyncio.shield(asyncio.ensure_future(self._commit(tasks)))

    async def _commit(self, tasks: Collection[OpenTask]) -> bool:
        async with self._lock:
            cuts = [(task, cut) for task in tasks if (cut := task.cut()) is not None]
            if not cuts:
                return False
            started_at = time.monotonic()
            # What a worker without its tasks writes to a changelog would cover what their new owner has written.
            await self._confirm_membership()
            await self._flush(cuts)
            # Without any: all that happened is that partitions which were never read became idle.
            if positions := {p: at for _, cut in cuts for p, at in cut.positions.items()}:
                await self._commit_positions(positions)
            await self._in_thread(_apply, cuts)
            for task, cut in cuts:
                task.group_offsets.update({partition: at.next_offset for partition, at in cut.positions.items()})
            self.commits += 1
            self.commit_s += time.monotonic() - started_at
            return True

    async def _flush(self, cuts: Sequence[tuple[OpenTask, Cut]]) -> None:
        self.flushing = True
        try:
            await self._in_thread(self._produce, cuts)
        finally:
            self.flushing = False

    def _produce(self, cuts: Sequence[tuple[OpenTask, Cut]]) -> None:
        for task, cut in cuts:
            for output in cut.outputs:
                self._producer.send(output)
            if cut.changelog:
                changelog = task.task.spec.changelog
                assert changelog is not None
                self._producer.send_changes(changelog, cut.changelog)
        self._producer.flush()

    async def _in_thread(
        self, work: Callable[[Sequence[tuple[OpenTask, Cut]]], None], cuts: Sequence[tuple[OpenTask, Cut]]
    ) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work, cuts)

    def close(self) -> None:
        self._thread.shutdown(wait=False)


def _apply(cuts: Sequence[tuple[OpenTask, Cut]]) -> None:
    for task, cut in cuts:
        if not cut.changelog:
            continue
        assert task.store is not None
        # The records just acknowledged lie at or behind the old end, whoever else has written there meanwhile, so the
        # sum is never past a record that the store lacks; a restore from it repeats at most what the store has.
        task.changelog_end += len(cut.changelog)
        task.store.apply(cut.changelog, task.changelog_end)

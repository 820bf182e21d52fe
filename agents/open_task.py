"""A task that a worker has open, and what the worker knows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from headrace.agents.tables import RestorableStore
from headrace.agents.task import Task
from headrace.sql.runtime.records import Change, Cut, TopicPartition


@dataclass(slots=True)
class OpenTask:
    """A task that a worker runs, and where its inputs, its changelog and its group offsets stand."""

    task: Task
    store: RestorableStore | None
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
    consumed: Counter[TopicPartition] = field(default_factory=Counter)
    """Records read, by input."""
    oldest_ms: dict[str, int] = field(default_factory=dict)
    """By topic, the least timestamp at the beginning of a batch that waits for a commit."""
    closed: bool = False
    broken: bool = False
    """What it holds is not to be committed: it broke on a batch, or nobody knows what became of its last cut."""

    def took(self, partition: TopicPartition, records: int, first_ms: int | None) -> None:
        """A batch was processed; `first_ms` is the timestamp of its first record."""
        self.consumed[partition] += records
        if first_ms is not None:
            self.oldest_ms[partition.topic] = min(first_ms, self.oldest_ms.get(partition.topic, first_ms))

    def cut(self) -> Cut | None:
        cut = self.task.cut()
        if cut is not None and self.repairs:
            cut = replace(cut, changelog=[*self.repairs, *cut.changelog])
            self.repairs = ()
        return cut

    def close(self) -> None:
        self.closed = True
        if self.store is not None:
            self.store.close()

"""Opens the tasks of an app: which stage a task is, and its place among the other tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from math import inf

from headrace.agents.task import Task, TaskSettings
from headrace.agents.topology import TaskSpec, Topology, dead_letter_topic, exchange_partitions, repartition_topic
from headrace.sql.engine import CompiledStage, Placement
from headrace.sql.physical import ExchangeInput, SourceInput
from headrace.sql.runtime.records import Position, Store, TopicPartition


class TaskFactory:
    """Opens the tasks of an app by its topology."""

    def __init__(self, stages: Mapping[str, CompiledStage], topology: Topology, settings: TaskSettings) -> None:
        self.topology = topology
        self._stages = stages
        self._settings = settings
        self._sizes: dict[str, int] = {}
        self._tasks = Counter(task.id.stage for task in topology.tasks)
        for task in topology.tasks:
            for _, number in task.inputs:
                stage = task.id.stage
                self._sizes[stage] = max(self._sizes.get(stage, 0), number + 1)

    def open(self, spec: TaskSpec, store: Store, positions: Mapping[TopicPartition, Position]) -> Task:
        """A task over its restored store; `positions` are the group's committed ones (for a task without state).

        Raises TaskStopped where the state was written by another plan.
        """
        stage = self._stages[spec.id.stage]
        placement = self._placement(spec, stage)
        return Task(spec, stage, placement, store, positions, self._settings, self._sizes[spec.id.stage])

    def _placement(self, spec: TaskSpec, stage: CompiledStage) -> Placement:
        app = self.topology.app
        match stage.stage.input:
            case ExchangeInput(senders=stages):
                branches = [
                    range(branch, self._tasks[name] * len(stages), len(stages)) for branch, name in enumerate(stages)
                ]
                senders = tuple(sorted(chain(*branches)))
            case SourceInput():
                senders = tuple(sorted(number for _, number in spec.inputs))
        peers: tuple[int, ...] = ()
        if spec.watermarks is not None:
            peers = tuple(number for number in range(self._sizes[spec.id.stage]) if number not in senders)
        return Placement(
            spec.id.partition,
            senders,
            peers,
            self._settings.idle_timeout_s < inf,
            {exchange.stage: repartition_topic(app, exchange.stage) for exchange in stage.generated.exchanges},
            exchange_partitions(self.topology.mode, self.topology.parallelism),
            dead_letter_topic(app),
            self.topology.diverted,
        )

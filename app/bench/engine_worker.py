"""One worker of the engine layer as a process: warms up, then runs its share as often as it is told to."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headrace.agents.worker import spare_garbage_collection
from headrace.app.application import App
from headrace.app.bench.cpu import peak_memory_mb
from headrace.app.bench.engine import Engine, Share
from headrace.app.bench.inputs import Partition
from headrace.app.bench.process import await_go, say
from headrace.sql.physical import Mode

WARM_UP_RECORDS = 20_000
"""Of all partitions together."""


@dataclass(frozen=True, slots=True)
class EngineOrder:
    """What `python -m headrace.app.bench.engine_worker` does."""

    sql: str
    """With the names of topics in it."""
    mode: str
    partitions: int
    worker: int
    workers: int
    commit_interval_s: float
    inputs: str
    """Directory of the source records."""
    results: str
    """Directory with one for each repeat, and one for the warm-up."""
    repeat: int


def main() -> None:
    order = EngineOrder(**json.loads(sys.argv[1]))
    app = App(order.sql, "bench")
    share = Share(order.worker, order.workers)
    partitions = [
        Partition(Path(order.inputs), number)
        for number in range(order.partitions)
        if share.owner(number) == share.worker
    ]
    # In a run it is not to be counted what holds the records that a worker would fetch.
    held_mb = sum(partition.size for partition in partitions) / 2**20
    spare_garbage_collection()

    def engine(what: str) -> Engine:
        directory = Path(order.results, what)
        return Engine(app, Mode(order.mode), order.partitions, share, directory, order.commit_interval_s)

    engine("warm-up").run(partitions, max(WARM_UP_RECORDS // order.partitions, 1))
    for number in range(order.repeat):
        prepared = engine(str(number))
        await_go()
        usage = prepared.run(partitions)
        say({**msgspec.to_builtins(usage), "memory_mb": peak_memory_mb() - held_mb})
        del prepared


if __name__ == "__main__":
    main()

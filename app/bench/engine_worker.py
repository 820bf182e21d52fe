"""One worker of the engine layer, in a process of its own: warms up, then runs its share as often as it is told to."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from headrace.agents.process import spare_garbage_collection
from headrace.app.application import App
from headrace.app.bench.cpu import peak_memory_mb
from headrace.app.bench.engine import Engine, Share
from headrace.app.bench.inputs import Partition
from headrace.sql.physical import Mode

WARM_UP_RECORDS = 20_000
"""Of all partitions together."""


@dataclass(frozen=True, slots=True)
class EngineOrder:
    """What one worker is to run."""

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


def work(order: EngineOrder, starter: Connection) -> None:
    """Before each run says that it is ready and waits for any word of the starter; after it says what was used."""
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
        starter.send("ready")
        starter.recv()
        usage = prepared.run(partitions)
        starter.send({**msgspec.to_builtins(usage), "memory_mb": peak_memory_mb() - held_mb})
        del prepared

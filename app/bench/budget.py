"""Where the CPU time of a worker goes: by step of a record's way, from a topic to a topic.

The steps of the main loop are timed around calls that take a thousand records or so, by this process alone: nothing of
it is in the product. What other threads use is told by the system.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from headrace.agents.records import FetchedBatch, ParsedBatch
from headrace.agents.task import Task
from headrace.app.bench import worker
from headrace.app.bench.case import Case
from headrace.app.bench.measurements import Budget, Step
from headrace.sql.engine import CompiledStage
from headrace.sql.runtime.decoder import SourceDecoder
from headrace.sql.runtime.outputs import ExchangeBuffer, SinkBuffer

STEPS = {
    "fetch": "the consumer's thread: requests, checksums",
    "parse": "decompression, records out of the bytes",
    "decode": "JSON to typed rows",
    "loop": "the generated loop over the rows",
    "merge": "blocks of re-keyed rows: decoding, generated loop",
    "close": "windows that close",
    "encode": "results and re-keyed rows to bytes",
    "cut": "changed state to bytes",
    "produce": "handing over to librdkafka, transactions, its threads",
    "store": "RocksDB",
    "rest": "event loop, Faust, everything else",
}
SAMPLE_S = 0.2
_THREADS = {
    "Thread-": "fetch",
    "transaction": "produce",
    "flush": "produce",
    "rdk:": "produce",
    "store": "store",
    "rocksdb": "store",
}
"""Step by what the name of a thread begins with."""


class Stopwatch:
    """CPU time of the main thread by step; a step that is begun inside of another is not part of that."""

    def __init__(self) -> None:
        self.used: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = time.thread_time()

    def begin(self, step: str) -> None:
        self._lap()
        self._open.append(step)

    def end(self) -> None:
        self._lap()
        self._open.pop()

    def _lap(self) -> None:
        now = time.thread_time()
        self.used[self._open[-1] if self._open else "rest"] += now - self._since
        self._since = now

    def around(self, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, its time noted."""

        @functools.wraps(call)
        def timed(*arguments: Any, **named: Any) -> Any:
            self.begin(step)
            try:
                return call(*arguments, **named)
            finally:
                self.end()

        return timed


def _attach(watch: Stopwatch) -> None:
    """Put the stopwatch around the steps of the main loop."""
    for column in ("values", "keys", "timestamps", "offsets", "headers"):
        found = ParsedBatch.__dict__[column]
        setattr(ParsedBatch, column, property(watch.around("parse", found.fget)))
    parts = FetchedBatch.parts

    def timed_parts(batch: FetchedBatch) -> Iterator[ParsedBatch]:
        following = watch.around("parse", parts(batch).__next__)
        while True:
            try:
                part = following()
            except StopIteration:
                return
            yield part

    setattr(FetchedBatch, "parts", timed_parts)  # noqa: B010 (mypy)
    for owner, name, step in (
        (SourceDecoder, "decode", "decode"),
        (Task, "process", "loop"),
        (Task, "cut", "cut"),
        (CompiledStage, "process_exchange", "merge"),
        (CompiledStage, "advance", "close"),
        (SinkBuffer, "extend", "encode"),
        (ExchangeBuffer, "take", "encode"),
        (ExchangeBuffer, "take_rows", "encode"),
    ):
        setattr(owner, name, watch.around(step, owner.__dict__[name]))


class ThreadTimes(threading.Thread):
    """Notes now and then what each other thread of this process has used so far, as some end before the process."""

    def __init__(self) -> None:
        super().__init__(name="thread times", daemon=True)
        self._used: dict[int, tuple[str, float]] = {}
        self._main = threading.main_thread().native_id

    def run(self) -> None:
        while True:
            self.look()
            time.sleep(SAMPLE_S)

    def look(self) -> None:
        names = {thread.native_id: thread.name for thread in threading.enumerate()}
        for directory in Path("/proc/self/task").iterdir():
            number = int(directory.name)
            try:
                text = (directory / "stat").read_text()
            except OSError:
                continue  # it has ended
            comm, _, fields = text.partition("(")[2].rpartition(")")
            ticks = fields.split()
            if number != self._main:
                used_s = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
                known, _ = self._used.get(number, (comm, 0.0))  # Python forgets a thread before the system does
                self._used[number] = (names.get(number, known), used_s)

    def by_step(self) -> dict[str, float]:
        """Seconds so far; what no step is named for is `rest`."""
        self.look()
        steps: dict[str, float] = defaultdict(float)
        for name, used_s in list(self._used.values()):
            steps[step_of(name)] += used_s
        return steps


def step_of(thread: str) -> str:
    """What the thread of a name works on."""
    return next((step for prefix, step in _THREADS.items() if thread.startswith(prefix)), "rest")


def budget(case: Case, used: Mapping[str, Any], plain_us: float) -> Budget:
    """What a run has used, as a budget: the steps add up to the CPU time of the process."""
    per_record = {step: seconds / case.records * 1e6 for step, seconds in used["steps"].items()}
    total_us = used["cpu_s"] / case.records * 1e6
    per_record["rest"] = total_us - sum(us for step, us in per_record.items() if step != "rest")
    return Budget(
        scenario=case.workload.name,
        layer=case.layer,
        partitions=case.partitions,
        records=case.records,
        steps=[Step(step=step, us=round(per_record.get(step, 0.0), 4)) for step in STEPS],
        total_us=round(total_us, 4),
        plain_us=round(plain_us, 4),
    )


def main() -> int:
    """The measured worker with a stopwatch: `process.started("budget", …)`."""
    watch, threads = Stopwatch(), ThreadTimes()
    _attach(watch)
    threads.start()
    before: dict[str, float] = {}

    def started() -> None:
        watch.begin("rest")
        watch.end()
        watch.used.clear()
        before.update(threads.by_step())

    setattr(worker.Meter, "on_start", staticmethod(started))  # noqa: B010 (mypy)

    def used() -> dict[str, object]:
        watch.begin("rest")
        watch.end()
        others = threads.by_step()
        return {"steps": {step: others[step] - before.get(step, 0.0) + watch.used[step] for step in STEPS}}

    return worker.run(used)


if __name__ == "__main__":
    sys.exit(main())

"""How fast a task's state comes back from its changelog.

A changelog of distinct keys, written as a worker writes it, is restored into an empty RocksDB, run by run. CPU µs per
key is user and system time of the process; the threads of RocksDB, which sort and write files beside the interpreter,
are in it. Beside some of the runs a main loop does what a worker with little to do does: a task that wakes up every
two milliseconds, and a call in a thread, as a commit is. Their delays say what a restore costs the tasks that run.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.agents.changelog import RestoreProgress, Restorer, Span
from headrace.agents.checkpoint import CHECKPOINT_KEY
from headrace.agents.cluster import Cluster
from headrace.agents.config import WorkerConfig
from headrace.agents.tables import RocksStore
from headrace.app.bench.broker import Broker
from headrace.app.bench.cpu import plain_loop_us
from headrace.app.bench.measurements import Restore as Measured
from headrace.app.bench.topics import QUIET
from headrace.app.errors import OutsideError
from headrace.sql.runtime.records import TopicPartition

VALUE_BYTES = 60
COMMIT_KEYS = 20_000
"""Changes per transaction."""
WAKE_S = 0.002


def keys_and_values(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Distinct keys in no order, as groups come."""
    numbers = random.Random(1)
    mask = 0x5DEECE66D % (1 << 40)
    for number in range(count):
        yield b"\x00%012x" % (number * 0x9E3779B1 % (1 << 40) ^ mask), numbers.randbytes(VALUE_BYTES)


def fill(address: str, topic: str, count: int) -> None:
    """Write the changelog once; one that exists is used again."""
    admin = AdminClient({"bootstrap.servers": address, **QUIET})
    if topic in admin.list_topics(timeout=10).topics:
        return
    admin.create_topics([NewTopic(topic, 1, 1, config={"cleanup.policy": "compact"})])[topic].result()
    producer = Producer(
        {
            "bootstrap.servers": address,
            "transactional.id": topic,
            "compression.type": "lz4",
            "linger.ms": 5,
            "batch.size": 1_000_000,
            "batch.num.messages": 100_000,
            **QUIET,
        }
    )
    producer.init_transactions()
    pairs = keys_and_values(count)
    for written in range(0, count, COMMIT_KEYS):
        live = min(written + COMMIT_KEYS, count)
        producer.begin_transaction()
        for _ in range(written, live):
            key, value = next(pairs)
            producer.produce(topic, value, key, 0)
        producer.produce(topic, msgspec.json.encode({"live": {0: live}}), CHECKPOINT_KEY, 0)
        producer.commit_transaction()


@dataclass(frozen=True, slots=True)
class Run:
    """One restore."""

    wall_s: float
    cpu_s: float
    held_s: float
    """CPU time of the restoring thread, for which it holds the interpreter."""


def restore(restorer: Restorer, changelog: TopicPartition, span: Span, keys: int, directory: Path) -> Run:
    """Restore into an empty store. The restore itself counts the entries; so does this."""
    store = RocksStore(directory)
    wall, cpu, held = time.perf_counter(), time.process_time(), time.thread_time()
    restorer.restore(store, changelog, span, RestoreProgress(changelog), lambda: False)
    run = Run(time.perf_counter() - wall, time.process_time() - cpu, time.thread_time() - held)
    *_, entries = store.entries()
    store.close()
    if entries != keys + 1:
        raise OutsideError(f"{entries - 1} keys instead of {keys}")
    return run


async def delays(until: threading.Event) -> tuple[list[float], list[float]]:
    """How late the loop wakes up, and how long a call in a thread takes, in ms, until told to end."""
    late, calls = [], []
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        while not until.is_set():
            due = loop.time() + WAKE_S
            await asyncio.sleep(WAKE_S)
            woken = loop.time()
            await loop.run_in_executor(pool, time.sleep, 0)
            late.append((woken - due) * 1000)
            calls.append((loop.time() - woken) * 1000)
    return late, calls


def restore_beside_a_loop(
    restorer: Restorer, changelog: TopicPartition, span: Span, keys: int, directory: Path
) -> tuple[Run, list[float], list[float]]:
    ended = threading.Event()

    def work() -> Run:
        try:
            return restore(restorer, changelog, span, keys, directory)
        finally:
            ended.set()

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(work)
        late, calls = asyncio.run(delays(ended))
        return run.result(), late, calls


def measure(broker: Broker, keys: int, repeat: int) -> Iterator[Measured]:
    """Fill a changelog, then restore it so many times: alone, and beside a main loop."""
    topic = f"bench-restore-{keys}"
    fill(broker.address, topic, keys)
    config = WorkerConfig(broker.address, "bench-restore", Path())
    changelog = TopicPartition(topic, 0)
    span = Span(0, Cluster(config).end_offsets([changelog])[changelog])
    restorer = Restorer(config)
    for number in range(repeat):
        with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
            before_us = plain_loop_us()
            run = restore(restorer, changelog, span, keys, Path(directory, "alone"))
            plain_us = (before_us + plain_loop_us()) / 2
            _, late, calls = restore_beside_a_loop(restorer, changelog, span, keys, Path(directory, "beside"))
        yield Measured(
            keys=keys,
            repeat=number,
            keys_per_s=round(keys / run.wall_s),
            cpu_us=round(run.cpu_s / keys * 1e6, 4),
            held_us=round(run.held_s / keys * 1e6, 4),
            plain_us=round(plain_us, 4),
            late_p50_ms=quantile(late, 0.5),
            late_p99_ms=quantile(late, 0.99),
            call_p50_ms=quantile(calls, 0.5),
            call_p99_ms=quantile(calls, 0.99),
        )


def quantile(values: Sequence[float], share: float) -> float:
    return round(sorted(values)[int(len(values) * share)], 2)

"""What the tests of the Kafka edge do to a cluster and to worker processes, each with a deadline."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from headrace.agents.cluster import Cluster
from headrace.agents.config import WorkerConfig
from headrace.sql.runtime.records import TopicPartition

DEADLINE_S = 60.0
IN_ORDER = {"enable.idempotence": True}
"""For producers: without it, what is sent again, as to a topic just created, comes behind what was produced later."""
APP = Path(__file__).with_name("edge_app.py")


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Ask again until it holds; fail with `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s:.0f} s: {what}"
        time.sleep(0.05)


class EdgeApp:
    """One counting app on a cluster: its topics, its workers and what they left behind."""

    def __init__(self, name: str, bootstrap: str, directory: Path, partitions: int = 4, mode: str = "partitioned"):
        self.name = name
        self.bootstrap = bootstrap
        self.directory = directory
        self.partitions = partitions
        self.mode = mode
        self.workers: list[WorkerProcess] = []
        self.cluster = Cluster(WorkerConfig(bootstrap, name, directory))
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", **IN_ORDER})

    @property
    def inputs(self) -> list[TopicPartition]:
        return [TopicPartition(f"{self.name}-in", partition) for partition in range(self.partitions)]

    def start(
        self, slot: int = 0, plan: str = "p1", ends: Any = None, *, stops_in_rebalance: bool = False, **config: Any
    ) -> WorkerProcess:
        """Start a worker process."""
        settings = {
            "bootstrap_servers": self.bootstrap,
            "app": self.name,
            "state_dir": str(self.directory / "state"),
            "slot": slot,
            "session_timeout_s": 6.0,
            **config,
        }
        arguments = {
            "config": settings,
            "partitions": self.partitions,
            "mode": self.mode,
            "plan": plan,
            "ends": ends and [[*partition, end] for partition, end in ends.items()],
            "stops_in_rebalance": stops_in_rebalance,
        }
        worker = WorkerProcess(arguments, self.directory / f"worker-{slot}-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker

    def produce(self, records: int, value: bytes = b"x", keys: int = 50) -> None:
        """Write records to the source, spread over keys; returns when Kafka has them."""
        for number in range(records):
            self._producer.produce(f"{self.name}-in", value, b"k%d" % (number % keys))
        assert self._producer.flush(DEADLINE_S) == 0

    def write_changelog(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Write to partition 0 of the changelog, as a worker does."""
        for key, value in changes.items():
            self._producer.produce(f"{self.name}-count-changelog", value, key, 0)
        assert self._producer.flush(DEADLINE_S) == 0

    def alter_topic(self, topic: str, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        for future in self._admin.incremental_alter_configs([resource]).values():
            future.result()

    def delete_records_before(self, offset: int) -> None:
        """As retention does, in partition 0 of the source."""
        for future in self._admin.delete_records([KafkaPartition(f"{self.name}-in", 0, offset)]).values():
            future.result()

    def committed(self) -> dict[TopicPartition, int]:
        return {partition: at.next_offset for partition, at in self.cluster.committed_so_far(self.inputs).items()}

    def ends(self) -> dict[TopicPartition, int]:
        return self.cluster.end_offsets(self.inputs)

    def await_caught_up(self, deadline_s: float = DEADLINE_S) -> None:
        """Until the group has committed everything that the source has."""
        ends = self.ends()

        def caught_up() -> bool:
            committed = self.committed()
            # Markers of transactions may have come behind the ends.
            return all(committed.get(partition, 0) >= end for partition, end in ends.items())

        wait_until(caught_up, f"{self.name} commits up to {ends}", deadline_s)

    def counts(self) -> dict[bytes, int]:
        """The state as the changelog has it: last value of each key, over all partitions."""
        latest: dict[tuple[int, bytes], bytes | None] = {}
        for message in self.records(f"{self.name}-count-changelog"):
            latest[message.partition(), message.key()] = message.value()
        counts: dict[bytes, int] = {}
        for (_, key), value in latest.items():
            if key.startswith(b"k") and value is not None:
                counts[key] = counts.get(key, 0) + int(value)
        return counts

    def close(self) -> None:
        self.cluster.delete([f"{self.name}-{topic}" for topic in ("in", "out", "count-changelog", "dead-letter")])

    def records(self, topic: str) -> Iterator[Any]:
        """Everything in a topic, from its first record to its present end."""
        return records_of(self.cluster, topic)


NewEdgeApp = Callable[..., EdgeApp]


def records_of(cluster: Cluster, topic: str) -> Iterator[Any]:
    """Everything in a topic, from the first record it still has to its present end."""
    partitions = [TopicPartition(topic, number) for number in range(cluster.source_partitions([topic])[topic])]
    begins, ends = cluster.begin_offsets(partitions), cluster.end_offsets(partitions)
    left = {partition.partition for partition in partitions if begins[partition] < ends[partition]}
    consumer = Consumer({"bootstrap.servers": cluster.address, "group.id": "edge-test", "enable.partition.eof": True})
    consumer.assign([KafkaPartition(topic, number, begins[TopicPartition(topic, number)]) for number in left])
    deadline = time.monotonic() + DEADLINE_S
    while left:
        assert time.monotonic() < deadline, f"topic {topic} cannot be read to its end"
        for message in consumer.consume(1_000, 0.1):
            if message.error() is not None:
                left.discard(message.partition())
            else:
                yield message
    consumer.close()


class WorkerProcess:
    """A worker in a process of its own, its output in a file."""

    def __init__(self, arguments: Mapping[str, Any], log: Path) -> None:
        self._log = log
        with log.open("w") as output:
            command = [sys.executable, str(APP), json.dumps(arguments)]
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def log(self) -> str:
        return self._log.read_text()

    def await_log(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.log().count(text) >= times or self._ended(), f"worker says {text!r}")
        assert text in self.log(), self.log()

    def _ended(self) -> bool:
        return self._process.poll() is not None

    def wakings(self) -> int:
        """How often its Python threads have waited so far; those of librdkafka and RocksDB have names of their own."""
        count = 0
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            with suppress(FileNotFoundError):  # it has ended since
                status = dict(line.split(":\t", 1) for line in (thread / "status").read_text().splitlines())
                if not status["Name"].startswith(("rdk:", "rocksdb:")):
                    count += int(status["voluntary_ctxt_switches"])
        return count

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.exit_code()

    def exit_code(self, deadline_s: float = DEADLINE_S) -> int:
        return self._process.wait(deadline_s)

    def kill(self) -> None:
        """SIGKILL, as kill -9 does."""
        if not self._ended():
            self._process.kill()
            self._process.wait(DEADLINE_S)

"""An SQL app on a cluster as a user has it: an SQL file, topics of its own, `headrace` commands and their processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from tests.integration.edge_cluster import DEADLINE_S, IN_ORDER, records_of, wait_until

from headrace.agents.cluster import Cluster
from headrace.agents.config import WorkerConfig
from headrace.app.application import App
from headrace.app.local import LocalResult
from headrace.app.order import WorkerOrder
from headrace.app.settings_sources import load_settings
from headrace.sql.physical import Mode
from headrace.sql.runtime.records import TopicPartition

COMMAND = (sys.executable, "-c", "from headrace.app.cli import main; main()")
WORKER = """
import sys
from headrace.agents import purge
from headrace.app.worker import main
purge.INTERVAL_S = {purge_interval_s}
sys.exit(main())
"""
RUN_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Input:
    """A record of the source, with its place."""

    partition: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 1_700_000_000_000
    headers: tuple[tuple[str, bytes], ...] = ()

    def envelope(self, topic: str) -> dict[str, Any]:
        return {
            "topic": topic,
            "partition": self.partition,
            "key": self.key,
            "value": self.value,
            "timestamp": self.timestamp,
        }


def row(partition: int, timestamp: int = 1_700_000_000_000, key: bytes | None = None, **columns: Any) -> Input:
    return Input(partition, key, json.dumps(columns).encode(), timestamp)


Written = tuple[bytes | None, bytes | None, int]
"""Key, value and timestamp of a record of a sink."""


@dataclass
class Run:
    """A process of `headrace`, its stderr in a file."""

    process: subprocess.Popen[bytes]
    log_file: Path

    def log(self) -> str:
        return self.log_file.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the log tells of one kind of event."""
        events = (json.loads(line) for line in self.log().splitlines() if line.startswith("{") and line.endswith("}"))
        return [event for event in events if event.get("event") == name]

    def await_events(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.events(name)) >= count or self.ended, f"{count} times {name!r}", RUN_DEADLINE_S)
        found = self.events(name)
        assert len(found) >= count, self.log()
        return found

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def exit_code(self, deadline_s: float = RUN_DEADLINE_S) -> int:
        return self.process.wait(deadline_s)

    def stop(self) -> int:
        """SIGTERM, as a user or Kubernetes stops it; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def workers(self) -> dict[int, int]:
        """Process ids of the newest worker of each slot."""
        return {event["slot"]: event["pid"] for event in self.events("worker started")}

    def kill(self) -> None:
        """The end of the supervisor; its workers see that and stop by themselves."""
        if not self.ended:
            self.process.kill()
            self.process.wait(DEADLINE_S)


class SqlApp:
    """An SQL file, in which `{name}` stands for the app's own name, with a source topic `<name>-in`."""

    def __init__(self, name: str, bootstrap: str, directory: Path, sql: str) -> None:
        self.name = name
        self.bootstrap = bootstrap
        self.directory = directory
        self.file = directory / f"{name}.sql"
        self.state = directory / "state"
        self.runs: list[Run] = []
        self.environment: dict[str, str] = {}
        self.udfs: tuple[object, ...] = ()
        """Functions of the app's own, which its commands are told by a flag."""
        self.write_sql(sql)
        self.cluster = Cluster(WorkerConfig(bootstrap, name, directory))
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self._producer = self._new_producer()

    def _new_producer(self) -> Producer:
        return Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 1, **IN_ORDER})

    @property
    def source(self) -> str:
        return f"{self.name}-in"

    def write_sql(self, sql: str) -> None:
        self.sql = sql.replace("{name}", self.name)
        self.file.write_text(self.sql)

    # Topics

    def create_topic(self, name: str, partitions: int, **config: str) -> None:
        properties = {option.replace("_", "."): value for option, value in config.items()}
        self.admin.create_topics([NewTopic(name, partitions, config=properties)])[name].result(timeout=DEADLINE_S)
        wait_until(lambda: self.cluster.source_partitions([name]) == {name: partitions}, f"topic {name} is there")

    def grow(self, partitions: int) -> None:
        """Give the source more partitions; what is produced from now on may go there."""
        self.admin.create_partitions([NewPartitions(self.source, partitions)])[self.source].result(timeout=DEADLINE_S)
        known = {self.source: partitions}
        wait_until(lambda: self.cluster.source_partitions([self.source]) == known, f"{self.source} has {partitions}")
        self._producer = self._new_producer()

    def produce(self, records: Iterable[Input]) -> None:
        """Write records to their partitions of the source; returns when Kafka has them."""
        for record in records:
            self._producer.produce(
                self.source, record.value, record.key, record.partition, None, None, record.timestamp,
                list(record.headers),
            )  # fmt: skip
            self._producer.poll(0)
        assert self._producer.flush(DEADLINE_S) == 0

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """As retention does."""
        self.admin.delete_records([KafkaPartition(topic, partition, before)])[KafkaPartition(topic, partition)].result()

    def written(self, topic: str) -> list[Written]:
        return [(m.key(), m.value(), m.timestamp()[1]) for m in records_of(self.cluster, topic)]

    def contents(self, topic: str) -> dict[bytes | None, tuple[bytes, int]]:
        """Last value of each key of a table, and its timestamp; deleted keys are absent."""
        return contents(self.written(topic))

    def rows(self, topic: str) -> list[Any]:
        """Values of a sink, as JSON has them."""
        return [None if value is None else json.loads(value) for _, value, _ in self.written(topic)]

    def dead_letters(self) -> list[tuple[bytes | None, bytes | None, dict[str, str]]]:
        """Key, value and headers of each."""
        topic = f"{self.name}-dead-letter"
        if topic not in self.cluster.source_partitions([topic]):
            return []
        return [
            (m.key(), m.value(), {name: value.decode() for name, value in m.headers() or []})
            for m in records_of(self.cluster, topic)
        ]

    def inputs(self, mode: str = "partitioned") -> list[TopicPartition]:
        """Partitions of the sources and repartition topics."""
        app = App(self.sql, self.name, udfs=self.udfs)
        topology = app.topology(Mode(mode), self.cluster.source_partitions(app.source_topics()))
        return sorted(partition for task in topology.tasks for partition in task.inputs)

    def exchanges(self) -> list[TopicPartition]:
        """Partitions of the repartition topics."""
        return [partition for partition in self.inputs() if partition.topic.endswith("-repartition")]

    def lag(self, mode: str = "partitioned") -> dict[TopicPartition, tuple[int, int]]:
        """Committed and end offset of each input partition where they differ."""
        inputs = self.inputs(mode)
        topics = {topic for topic, _ in inputs}
        if topics - self.cluster.source_partitions(topics).keys():
            return dict.fromkeys(inputs, (0, 1))
        committed, ends = self.cluster.committed_so_far(inputs), self.cluster.end_offsets(inputs)
        stands = {p: committed[p].next_offset if p in committed else 0 for p in inputs}
        return {p: (stands[p], ends[p]) for p in inputs if stands[p] != ends[p]}

    def await_caught_up(
        self, mode: str = "partitioned", deadline_s: float = RUN_DEADLINE_S, by: Run | None = None
    ) -> None:
        """Until all is committed that the sources and repartition topics have. The run (the last one) goes on."""
        running = by or self.runs[-1]
        wait_until(lambda: running.ended or not self.lag(mode), f"{self.name} catches up", deadline_s)
        assert not running.ended, running.log()

    # Commands

    def headrace(self, *arguments: str) -> Run:
        """Start a command."""
        environment = os.environ | {
            "HEADRACE_BOOTSTRAP_SERVERS": self.bootstrap,
            "HEADRACE_STATE_DIR": str(self.state),
            "HEADRACE_LOG_FORMAT": "json",
            "HEADRACE_HTTP_PORT": "0",
            **self.environment,
        }
        log = self.directory / f"log-{len(self.runs)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*COMMAND, *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=self.directory
            )
        self.runs.append(Run(process, log))
        return self.runs[-1]

    def run(self, *arguments: str) -> Run:
        return self.headrace("run", str(self.file), *arguments)

    def order(self, slot: int = 0, **settings: Any) -> WorkerOrder:
        """What a supervisor tells a worker."""
        ours = {
            "bootstrap_servers": self.bootstrap,
            "state_dir": str(self.state),
            "log_format": "json",
            "http_port": "0",
        }
        given = {**ours, **settings}
        sources = self.cluster.source_partitions([self.source])
        return WorkerOrder(self.sql, str(self.file), self.name, load_settings(given, environ={}), sources, None, slot)

    def worker(
        self, slot: int = 0, file_bytes_max: int | None = None, purge_interval_s: float = 30.0, **settings: Any
    ) -> Run:
        """Start a worker process without a supervisor. None of its files may grow larger than told (a full disk)."""
        order = self.order(slot, **settings)
        command = [sys.executable, "-c", WORKER.format(purge_interval_s=purge_interval_s)]
        if file_bytes_max is not None:
            command = ["prlimit", f"--fsize={file_bytes_max}", *command]
        log = self.directory / f"log-{len(self.runs)}"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
        assert process.stdin is not None
        process.stdin.write(order.to_json() + b"\n")
        process.stdin.flush()
        self.runs.append(Run(process, log))
        return self.runs[-1]

    def create_own_topics(self, *arguments: str) -> None:
        """What `headrace run` does before it starts workers."""
        assert self.headrace("topics", str(self.file), "--create", *arguments).exit_code() == 0

    def run_to_end(self, *arguments: str) -> Run:
        """`headrace run --until-end`, which must end with 0."""
        run = self.run("--until-end", *arguments)
        assert run.exit_code() == 0, run.log()
        return run

    def refused(self, *arguments: str, deadline_s: float = RUN_DEADLINE_S) -> tuple[int, str]:
        """Exit code and log of a run that ends by itself, without a traceback."""
        run = self.run(*arguments)
        code = run.exit_code(deadline_s)
        assert "Traceback" not in run.log()
        return code, run.log()

    def local(self, records: Sequence[Input], mode: str = "partitioned", partitions: int = 4) -> LocalResult:
        """The app in memory over the same records."""
        envelopes = [record.envelope(self.source) for record in records]
        return App(self.sql, self.name, udfs=self.udfs).local(records=envelopes, mode=mode, partitions=partitions)

    def close(self) -> None:
        for run in self.runs:
            run.kill()
            for pid in run.workers().values():
                _kill_worker(pid)
            sys.stdout.write(run.log())
        topics = [name for name in self.admin.list_topics(timeout=DEADLINE_S).topics if name.startswith(self.name)]
        self.cluster.delete(topics)


def _kill_worker(pid: int) -> None:
    """End a worker for good, if the process is one still."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return
    if b"headrace.app.worker" in command:
        os.kill(pid, signal.SIGKILL)


def contents(written: Iterable[Written]) -> dict[bytes | None, tuple[bytes, int]]:
    last = {key: (value, timestamp) for key, value, timestamp in written}
    return {key: (value, timestamp) for key, (value, timestamp) in last.items() if value is not None}


def written_locally(result: LocalResult, topic: str) -> list[Written]:
    return [(r.raw_key, r.raw_value, r.timestamp) for r in result.records if r.topic == topic]


def differences(expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> dict[Any, tuple[Any, Any]]:
    """What is expected and what is there, by key, where they are not the same."""
    return {
        key: (expected.get(key), found.get(key))
        for key in expected.keys() | found.keys()
        if expected.get(key) != found.get(key)
    }


def assert_same_stream(expected: Iterable[Written], found: Iterable[Written]) -> None:
    """The same records, each as often."""
    left, right = Counter(expected), Counter(found)
    assert left == right, {"missing": list((left - right).items())[:5], "extra": list((right - left).items())[:5]}


NewSqlApp = Callable[..., SqlApp]


def unique_name(prefix: str = "sql") -> str:
    return f"{prefix}-{time.time_ns():x}"

"""Run the workloads and print a table: `make bench`, or `python -m benchmarks.run` with options.

CPU µs per record is user and system time of the whole worker process from its first record batch to its last commit,
divided by the number of input records. Every run's output is read back and checked. The last column is the same cost
in plain loops: how often a bare Python loop over the same records (decode, group by symbol, sum) would have run in that
time, measured before and after each run, because other loads share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.workloads import WORKLOADS, Workload, records
from headrace.app import broker as brokers

PARTITIONS = 4
TOPIC_CONFIG = {"retention.ms": "-1", "message.timestamp.type": "CreateTime"}


def create_topic(bootstrap: str, name: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1, config=TOPIC_CONFIG)])[name].result()


def load(bootstrap: str, topic: str, kind: str, count: int) -> None:
    """Fill a source topic once; one that exists with the right number of records is used again."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "benchmarks"})
    existing = consumer.list_topics(timeout=10).topics
    if topic in existing:
        parts = [TopicPartition(topic, number) for number in existing[topic].partitions]
        if sum(consumer.get_watermark_offsets(part, 10)[1] for part in parts) == count:
            return
        raise SystemExit(f"topic {topic} exists with another number of records")
    create_topic(bootstrap, topic, PARTITIONS)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": "lz4",
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 2_000_000,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
        }
    )
    for number, (key, value) in enumerate(records(kind, count)):
        producer.produce(topic, value, key)
        if number % 50_000 == 0:
            producer.poll(0)
    producer.flush()


def values(bootstrap: str, topic: str) -> list[dict[str, object]]:
    """All values of a sink, each partition in order."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "benchmarks", "enable.partition.eof": True, "fetch.min.bytes": 1}
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    rows: list[dict[str, object]] = []
    open_partitions = set(partitions)
    while open_partitions:
        for message in consumer.consume(10_000, 1.0):
            if message.error():
                open_partitions.discard(message.partition())
            elif (value := message.value()) is not None:
                rows.append(json.loads(value))
    consumer.close()
    return rows


def cpu_s(pid: int | None) -> float:
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Trade(msgspec.Struct, gc=False):
    symbol: str | None
    price: float | None
    quantity: int | None


def plain_loop_us(count: int = 180_000) -> float:
    """CPU µs per record of a bare loop: decode batches of 18,000 records, count and sum by symbol."""
    batches = [[value for _, value in records("trades", 18_000)]] * (count // 18_000)
    decode = msgspec.json.Decoder(list[Trade]).decode
    groups: dict[str | None, list[float]] = {}
    started = time.process_time()
    for values_ in batches:
        for row in decode(b"[" + b",".join(values_) + b"]"):
            group = groups.get(row.symbol)
            if group is None:
                group = groups[row.symbol] = [0, 0, 0.0]
            group[0] += 1
            group[1] += row.quantity or 0
            group[2] += row.price or 0.0
    return (time.process_time() - started) / count * 1e6


def measure(options: argparse.Namespace, workload: Workload, number: int) -> dict[str, float]:
    """One run of a workload; SystemExit where its output is wrong."""
    name = f"bench-{workload.name.lower()}-{int(time.time())}-{number}"
    source = f"bench-{workload.source}-{options.records}"
    order = {
        "bootstrap": options.bootstrap,
        "app": name,
        "sql": workload.sql.replace("{source}", source).replace("{sink}", f"{name}-sink"),
        "mode": options.mode,
        "parallelism": None,
        "commit_interval_s": options.commit_interval,
    }
    plain = [plain_loop_us()]
    before = cpu_s(options.broker_pid)
    with tempfile.TemporaryDirectory() as state_dir:
        command = [sys.executable, "-m", "benchmarks.worker", json.dumps(order | {"state_dir": state_dir})]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{workload.name} failed:\n{done.stdout}\n{done.stderr[-3000:]}")
    broker = cpu_s(options.broker_pid) - before
    result = json.loads(done.stdout.splitlines()[-1])
    plain.append(plain_loop_us())
    wrong = workload.check(options.records, values(options.bootstrap, f"{name}-sink"))
    if wrong:
        raise SystemExit(f"{workload.name}: {wrong}")
    return {
        "cpu_us": result["cpu_s"] / options.records * 1e6,
        "wall_us": result["wall_s"] / options.records * 1e6,
        "broker_us": broker / options.records * 1e6,
        "memory_mb": result["memory_mb"],
        "loops": result["cpu_s"] / options.records * 1e6 / statistics.mean(plain),
    }


def reference(options: argparse.Namespace, workload: str) -> float:
    """CPU µs per record of a plain Faust agent on the same records."""
    name = f"bench-faust-{workload.lower()}-{int(time.time())}"
    source = f"bench-trades-{options.reference_records}"
    load(options.bootstrap, source, "trades", options.reference_records)
    create_topic(options.bootstrap, f"{name}-sink", PARTITIONS)
    order = {
        "bootstrap": options.bootstrap,
        "app": name,
        "workload": workload,
        "source": source,
        "sink": f"{name}-sink",
        "partitions": PARTITIONS,
        "records": options.reference_records,
    }
    with tempfile.TemporaryDirectory() as state_dir:
        command = [sys.executable, "-m", "benchmarks.faust_agent", json.dumps(order | {"state_dir": state_dir})]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return float(json.loads(done.stdout.splitlines()[-1])["cpu_s"] / options.reference_records * 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", help="a running broker; without it one is started and stopped again")
    parser.add_argument("--broker-pid", type=int, help="process whose CPU time is the broker's")
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--reference-records", type=int, default=50_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--commit-interval", type=float, default=0.2)
    parser.add_argument("--mode", default="partitioned")
    parser.add_argument("--reference", action="store_true", help="measure a plain Faust agent too")
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    options = parser.parse_args()
    if options.bootstrap:
        report(options)
        return
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        home = brokers.Home(Path(directory), brokers.Home.of_user().jars)
        broker = brokers.start(home, brokers.free_port(), brokers.Security.PLAINTEXT, lambda *_: None)
        options.bootstrap, options.broker_pid = broker.address, broker.pid
        try:
            report(options)
        finally:
            brokers.stop(broker)


def report(options: argparse.Namespace) -> None:
    """Run and print each workload."""
    print("| workload | CPU µs/record | broker µs/record | records/s | peak MB | in plain loops |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in options.workloads:
        workload = WORKLOADS[name]
        load(options.bootstrap, f"bench-{workload.source}-{options.records}", workload.source, options.records)
        runs = [measure(options, workload, number) for number in range(options.repeat)]
        cpu, broker, wall = (statistics.median(run[key] for run in runs) for key in ("cpu_us", "broker_us", "wall_us"))
        memory = max(run["memory_mb"] for run in runs)
        spread = f"{min(run['cpu_us'] for run in runs):.2f}–{max(run['cpu_us'] for run in runs):.2f}"
        loops = statistics.median(run["loops"] for run in runs)
        figures = f"{cpu:.2f} ({spread}) | {broker:.2f} | {1e6 / wall:,.0f} | {memory:.0f} | {loops:.1f}"
        print(f"| {name} {workload.what} | {figures} |", flush=True)
    if options.reference:
        for name in ("W1", "W2-every"):
            print(f"| plain Faust agent, {name} | {reference(options, name):.1f} | | | |", flush=True)


if __name__ == "__main__":
    main()

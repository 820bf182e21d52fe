"""One round: an app runs under load, is struck again and again, is drained, and must have done everything once."""

from __future__ import annotations

import os
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import IsolationLevel
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import OffsetSpec
from tests.integration.edge_cluster import records_of, wait_until
from tests.integration.sql_app import SqlApp, unique_name
from tests.torture.cluster import TortureBroker
from tests.torture.crew import DUMP_S, REPLACED, Crew, RoundFailed
from tests.torture.schedule import Blow, Kind, Round
from tests.torture.verifier import Findings, Row, check_sink, check_source
from tests.torture.worker_process import WorkerProcess
from tests.torture.workload import GROWN, PARTITIONS, PLANS, HitProducer, Sink, hits_of

from headrace.agents.config import Guarantee
from headrace.agents.topics import ensure_topics
from headrace.app.order import WorkerOrder, open_app
from headrace.app.running import checked_topology
from headrace.sql.runtime.records import TopicPartition

GUARANTEE = Guarantee(os.environ.get("HEADRACE_TEST_TORTURE_GUARANTEE", Guarantee.EXACTLY_ONCE))
"""With at_least_once only losses count: it shows what the guarantee is worth."""
BROKER_S = 60.0
RECOVERY_S = 60.0
REPLACED_S = 5.0
"""How long a worker goes on whose place another one has taken."""
DRAIN_S = 120.0
END_S = 120.0
DECIDED_S = 60.0
"""For transactions whose producer is gone, to time out."""


@dataclass
class Outcome:
    """What a round did and what was found."""

    round: Round
    directory: Path
    kills: int = 0
    blows: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    records: int = 0
    """Of the source."""
    findings: Findings = field(default_factory=Findings)
    failure: str = ""
    """Why the round did not come to its end."""
    forgotten: list[str] = field(default_factory=list)
    """Partitions of the app to which Kafka did not write the end of a transaction that it counts as committed."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        found = self.findings
        more = found.repeated + found.wrong if GUARANTEE is Guarantee.EXACTLY_ONCE else 0
        return not self.failure and found.lost == 0 and more == 0

    @property
    def spoiled(self) -> bool:
        """Whether Kafka itself lost what the round is about: it says nothing then of Headrace."""
        return not self.passed and bool(self.forgotten)

    def __str__(self) -> str:
        found = self.findings
        verdict = "passed" if self.passed else f"FAILED, logs in {self.directory}"
        if self.spoiled:
            verdict = f"SPOILED by Kafka (KAFKA-20734), which left transactions undecided in {self.forgotten}"
        summary = (
            f"{self.round}\n"
            f"  {self.kills} kills, {self.blows.total()} blows, {self.records} records, {found.rows} rows, "
            f"lost {found.lost}, repeated {found.repeated}, wrong {found.wrong}, {self.seconds:.0f} s: {verdict}"
        )
        return "\n  ".join([summary, *found.examples, *self.failure.splitlines()])


def play(setup: Round, broker: TortureBroker, directory: Path) -> Outcome:
    """Play one round on a broker. Its topics and files are deleted where it passes, and kept where it does not."""
    directory.mkdir(parents=True)
    outcome = Outcome(setup, directory)
    began = time.monotonic()
    forgotten_before = len(broker.forgotten)
    torment = _Torment(setup, broker, directory, outcome)
    try:
        torment.run()
    except Exception:  # noqa: BLE001 (a report tells of it, and other rounds go on)
        outcome.failure = traceback.format_exc()
    finally:
        torment.close()
        outcome.forgotten = [p for p in broker.forgotten[forgotten_before:] if torment.uses(p)]
        outcome.seconds = time.monotonic() - began
        (directory / "outcome").write_text(f"{outcome}\n")
    if outcome.passed:
        torment.forget()
    elif broker.log.exists():
        shutil.copy(broker.log, directory / "broker.log")
    return outcome


class _Torment:
    def __init__(self, setup: Round, broker: TortureBroker, directory: Path, outcome: Outcome) -> None:
        self._setup = setup
        self._broker = broker
        self._outcome = outcome
        self._plan = PLANS[setup.plan]
        broker.recover()
        self._app = SqlApp(unique_name("torture"), broker.address, directory, self._plan.sql)
        self._app.create_topic(self._app.source, PARTITIONS)
        self._order = self._make_order()
        app = open_app(self._order.sql_text, self._order.file, self._app.name, self._order.settings)
        topology = checked_topology(app, self._order.settings, self._order.source_partitions)
        self._written = [
            TopicPartition(topic, number)
            for topic, state in ensure_topics(self._app.cluster, topology).items()
            for number in range(state.partitions)
        ]
        self._producer = HitProducer(broker.address, self._app.source, setup.pages, setup.per_s)
        self._crew = Crew(self._order, directory, broker, self._check_producer)
        self._crew.tell(f"{setup} as {self._app.name} on {broker.address}")

    def _make_order(self) -> WorkerOrder:
        setup = self._setup
        settings: dict[str, Any] = {
            "mode": setup.mode,
            "guarantee": GUARANTEE,
            "commit_interval": f"{setup.commit_ms}ms",
            "parallelism": PARTITIONS,
            "kafka.session.timeout.ms": str(setup.session_ms),
            "kafka.heartbeat.interval.ms": str(setup.session_ms // 5),
            "kafka.metadata.max.age.ms": "1000",
            "kafka.transaction.timeout.ms": str(setup.transaction_ms),
        }
        if setup.static_members:
            settings["instance_id"] = "member"
        return self._app.order(**settings)

    def run(self) -> None:
        self._crew.start(range(self._setup.workers))
        self._producer.start()
        for blow in self._setup.blows:
            self._strike(blow)
            self._outcome.blows[blow.kind] += 1
            if blow.peace_s is None:
                self._await_recovery()
            else:
                self._crew.spend(blow.peace_s)
        self._drain()
        self._finish()
        self._verify()

    def _check_producer(self) -> None:
        if self._producer.failed.is_set():
            raise RoundFailed(f"the producer of the source failed: {self._producer.failure}")

    # Blows

    def _strike(self, blow: Blow) -> None:
        crew, slots = self._crew, blow.workers
        if blow.kind is not Kind.EXTRA and not all(map(crew.runs, slots)):
            crew.start(slots)
            crew.spend(blow.lasts_s)
            crew.start(slots)
        match blow.kind:
            case Kind.KILL | Kind.KILL_SEVERAL:
                self._kill(blow)
                crew.later(blow.lasts_s, lambda: crew.start(slots))
            case Kind.PAUSE | Kind.ZOMBIE:
                paused = crew.pause(slots)
                crew.later(blow.lasts_s, lambda: crew.resume(paused))
            case Kind.REPLACE if not crew.runs(slots[0] + REPLACED):
                paused = crew.pause(slots)
                old = crew.replace(*slots)
                crew.later(blow.lasts_s, lambda: crew.resume(paused))
                crew.later(blow.lasts_s + REPLACED_S, lambda: crew.leave(old))
            case Kind.LEAVE:
                crew.leave(*slots)
                crew.spend_until(lambda: not crew.runs(*slots), DRAIN_S)
                crew.later(blow.lasts_s, lambda: crew.start(slots))
            case Kind.EXTRA if crew.runs(self._setup.extra_slot):
                crew.leave(self._setup.extra_slot)
            case Kind.EXTRA:
                crew.start([self._setup.extra_slot])
            case Kind.GROW if self._setup.grows:
                self._grow()
            case Kind.KILL_BROKER | Kind.PAUSE_BROKER:
                self._strike_broker(blow)

    def _grow(self) -> None:
        """Hits go to the new partition once the workers read it: to others' windows they would be late before."""
        self._crew.tell(Kind.GROW)
        self._app.grow(GROWN)
        new = TopicPartition(self._app.source, GROWN - 1)
        if not self._crew.spend_until(lambda: new in self._app.cluster.committed_so_far([new]), RECOVERY_S):
            self._crew.tell_where_they_stand()
            raise RoundFailed(f"the new partition is not read after {RECOVERY_S:.0f} s")
        self._producer.partitions = GROWN
        self._crew.tell("hits go there too")

    def _kill(self, blow: Blow) -> None:
        self._crew.kill(blow.workers)
        if blow.state_lost:
            self._crew.lose_state(blow.workers)

    def _strike_broker(self, blow: Blow) -> None:
        self._crew.tell(blow.kind)
        if blow.kind is Kind.KILL_BROKER:
            self._broker.kill()
        else:
            self._broker.pause()
        self._kill(blow)
        self._crew.spend(blow.lasts_s)
        with ThreadPoolExecutor(1) as pool:
            recovered = pool.submit(self._broker.recover)
            self._crew.spend_until(recovered.done, BROKER_S)
            recovered.result(timeout=0)
        self._crew.tell("the broker is back")
        self._crew.start(blow.workers)

    def _await_recovery(self) -> None:
        """Until every partition of the source has been committed further than now."""
        before = self._committed()
        if not self._crew.spend_until(lambda: self._all_moved(before), RECOVERY_S):
            self._crew.tell_where_they_stand()
            raise RoundFailed(f"no progress for {RECOVERY_S:.0f} s: from {before} to {self._committed()}")

    @property
    def _sources(self) -> list[TopicPartition]:
        return [TopicPartition(self._app.source, number) for number in range(self._producer.partitions)]

    def _committed(self) -> dict[TopicPartition, int]:
        return {
            partition: at.next_offset for partition, at in self._app.cluster.committed_so_far(self._sources).items()
        }

    def _all_moved(self, before: dict[TopicPartition, int]) -> bool:
        now = self._committed()
        return all(now.get(partition, 0) > before.get(partition, 0) for partition in self._sources)

    # The end

    def _drain(self) -> None:
        """Leave the workers alone until they have committed all of the source; stop them."""
        self._crew.spend(max(blow.lasts_s for blow in self._setup.blows) + REPLACED_S)
        self._crew.start(range(self._setup.workers))
        self._producer.finish()
        if not self._crew.spend_until(self._is_drained, DRAIN_S):
            self._crew.tell_where_they_stand()
            raise RoundFailed(f"not drained within {DRAIN_S:.0f} s: {self._committed()} of {self._source_ends()}")
        self._crew.stop()
        self._outcome.kills = self._crew.kills
        self._outcome.counts = self._crew.counts

    def _source_ends(self) -> dict[TopicPartition, int]:
        return self._app.cluster.end_offsets(self._sources)

    def _is_drained(self) -> bool:
        return self._committed() == self._source_ends()

    def _finish(self) -> None:
        """Without any local state: touch every group, so that its state in the changelog shows, and run to the end."""
        shutil.rmtree(self._app.state)
        self._producer.touch_every_key()
        counts = {self._app.source: self._producer.partitions}
        order = replace(self._order, source_partitions=counts, ends=self._source_ends())
        self._crew.tell("finite run")
        workers = [
            WorkerProcess(replace(order, slot=slot).to_json(), self._app.directory / f"last-{slot}.log")
            for slot in range(2)
        ]
        try:
            wait_until(lambda: all(w.exit_code is not None for w in workers), "the finite run ends", END_S)
            codes = [worker.exit_code for worker in workers]
            if any(codes):
                raise RoundFailed(f"workers of the finite run ended with {codes}")
        except AssertionError:
            for worker in workers:
                worker.signal(signal.SIGUSR1)
            time.sleep(DUMP_S)
            raise
        finally:
            for worker in workers:
                worker.kill()

    def _verify(self) -> None:
        if not self._is_drained():
            raise RoundFailed(f"committed is {self._committed()}, the source ends at {self._source_ends()}")
        wait_until(lambda: not self._undecided(), "no transaction is open", DECIDED_S)
        found = self._outcome.findings
        messages = list(records_of(self._app.cluster, self._app.source))
        hits = hits_of(messages, self._setup.pages, self._producer.partitions)
        self._outcome.records = len(hits)
        found.add(check_source(hits, self._producer.count))
        found.rows = 0
        for sink in self._plan.sinks:
            found.add(check_sink(sink, hits, self._rows(sink)))
        for _, value, headers in self._app.dead_letters():
            found.note("dead letter", f"{headers} {value!r}", wrong=1)

    def _undecided(self) -> list[str]:
        """Partitions that a reader of committed records cannot read to their end."""
        at = {KafkaPartition(*partition): OffsetSpec.latest() for partition in self._written}
        ends = self._app.admin.list_offsets(at, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        stable = self._app.admin.list_offsets(at, isolation_level=IsolationLevel.READ_COMMITTED)
        return [str(p) for p in at if ends[p].result().offset != stable[p].result().offset]

    def _rows(self, sink: Sink) -> Iterator[Row | None]:
        topic = f"{self._app.name}-{sink.name}"
        if sink.is_table:
            yield from (orjson.loads(value) for value, _ in self._app.contents(topic).values())
            return
        for message in records_of(self._app.cluster, topic):
            yield None if message.value() is None else orjson.loads(message.value())

    def uses(self, partition: str) -> bool:
        """Whether a partition is one of the app's, or of the group offsets."""
        return partition.startswith((f"{self._app.name}-", "__consumer_offsets-"))

    def close(self) -> None:
        """End what still runs; the broker is well again."""
        self._broker.recover()
        self._crew.close()
        self._outcome.kills = self._crew.kills
        self._outcome.counts = self._crew.counts

    def forget(self) -> None:
        """Delete topics and files."""
        self._app.close()
        shutil.rmtree(self._app.directory)

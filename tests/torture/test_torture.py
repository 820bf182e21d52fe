"""Two workers under a live load, killed, stopped and paused by a schedule that a seed decides: nothing is lost.

`HEADRACE_TEST_TORTURE_SECONDS` makes it longer, `HEADRACE_TEST_TORTURE_SEED` plays a schedule again (the seed of a
failure is in the name of the test).
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.sql_app import Run, SqlApp, unique_name
from tests.torture.workload import PARTITIONS, SQL, HitProducer, verify

SECONDS = float(os.environ.get("HEADRACE_TEST_TORTURE_SECONDS", "60"))
SEED = int(os.environ.get("HEADRACE_TEST_TORTURE_SEED", random.SystemRandom().randrange(10**6)))
RATE = 5_000
ACTIONS = ("kill", "kill", "kill", "terminate", "pause", "pause long")
DRAIN_S = 90.0


class Workers:
    """Two worker processes, each with a slot of its own, and what happens to them."""

    def __init__(self, app: SqlApp, draw: random.Random, producer: HitProducer) -> None:
        self._app = app
        self._draw = draw
        self._broken = producer.failed
        self._running: dict[int, Run] = {}
        self.happened: list[str] = []
        for slot in (0, 1):
            self.start(slot)

    def start(self, slot: int) -> None:
        self._running[slot] = self._app.worker(slot, **{"kafka.session.timeout.ms": "6000"})

    def suffer(self) -> float:
        """One blow, and a moment of peace; how long it took in all."""
        slot, action = self._draw.choice((0, 1)), self._draw.choice(ACTIONS)
        self.happened.append(f"{action} {slot}")
        worker = self._running[slot]
        assert not worker.ended, f"worker {slot} ended by itself:\n{worker.log()[-5_000:]}"
        match action:
            case "kill":
                worker.kill()
                took = self._pass(self._draw.uniform(0, 2))
                self.start(slot)
            case "terminate":
                # A worker that was not listening yet had nothing to lose.
                assert worker.stop() in (0, -signal.SIGTERM), worker.log()[-5_000:]
                took = self._pass(self._draw.uniform(0, 2))
                self.start(slot)
            case _:
                worker.process.send_signal(signal.SIGSTOP)
                took = self._pass(self._draw.uniform(0.1, 3) if action == "pause" else 8)
                worker.process.send_signal(signal.SIGCONT)
        return took + self._pass(self._draw.uniform(1, 6))

    def _pass(self, seconds: float) -> float:
        assert not self._broken.wait(seconds), "the producer failed"
        return seconds

    def stop(self) -> None:
        for worker in self._running.values():
            assert worker.stop() == 0, worker.log()[-5_000:]


@pytest.fixture
def app(broker: str, tmp_path: Path) -> Iterator[SqlApp]:
    app = SqlApp(unique_name("torture"), broker, tmp_path, SQL)
    app.create_topic(app.source, PARTITIONS)
    app.create_own_topics()
    yield app
    app.close()


@pytest.mark.broker
@pytest.mark.timeout(SECONDS + 240)
@pytest.mark.parametrize("seed", [SEED])
def test_nothing_is_lost_whatever_happens_to_the_workers(app: SqlApp, seed: int) -> None:
    producer = HitProducer(app, RATE)
    workers = Workers(app, random.Random(seed), producer)
    producer.start()
    passed = 0.0
    try:
        while passed < SECONDS:
            passed += workers.suffer()
    finally:
        producer.finish()
    app.await_caught_up(deadline_s=DRAIN_S)
    workers.stop()
    app.run_to_end("--workers", "2")
    sys.stdout.write(f"seed {seed}: {', '.join(workers.happened)}\n{verify(app, producer.count)}\n")

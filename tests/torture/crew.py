"""The workers of one app while they are tortured: who runs, who is stopped, and what has to be done about it when."""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from tests.torture.cluster import TortureBroker
from tests.torture.worker_process import WorkerProcess

from headrace.agents.ending import EXIT_DONE, EXIT_KAFKA
from headrace.app.order import WorkerOrder

GAVE_UP = "workers that ended because the broker was away, and were started again"
REFUSED = "workers that ended because another one had their place"
STARTS = "starts of workers"
STATES_LOST = "state directories deleted"
AWAY_PATIENCE_S = 15.0
"""How long after the broker is back a worker may still end because it was away."""
LEAVE_S = 25.0
"""A worker ends itself 20 s after SIGTERM at the latest."""
DUMP_S = 2.0
REPLACED = 100
"""Added to the slot of a worker whose place another one has taken."""
STEP_S = 0.02


class RoundFailed(Exception):  # noqa: N818
    """Something happened that must not, whatever is killed when."""


@dataclass(eq=False)
class _Running:
    process: WorkerProcess
    started_at: float
    leaving_until: float | None = None
    """It was told to stop, and has until then."""
    replaced: bool = False
    """Another worker has its place: it may go."""


class Crew:
    """Workers by slot, each started with the same order but for its slot. Times are monotonic seconds."""

    def __init__(self, order: WorkerOrder, directory: Path, broker: TortureBroker, check: Callable[[], None]) -> None:
        """`check` is called often, and raises where the rest of the round has failed."""
        self.counts: Counter[str] = Counter()
        self.kills = 0
        self._order = order
        self._directory = directory
        self._broker = broker
        self._check_rest = check
        self._running: dict[int, _Running] = {}
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._story = (directory / "story").open("w", buffering=1)
        self._began = time.monotonic()

    def tell(self, what: str) -> None:
        """Write down what happens, for who looks for the cause of a failure."""
        now = time.time()
        wall = f"{time.strftime('%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03}"
        self._story.write(f"{wall} {time.monotonic() - self._began:8.3f} {what}\n")

    # Time

    def spend(self, seconds: float) -> None:
        """Let time pass: do what is due, and look after everything."""
        self.spend_until(lambda: False, seconds)

    def spend_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until the condition holds; whether it did."""
        end = time.monotonic() + seconds
        while True:
            self._do_what_is_due()
            self._check()
            if condition():
                return True
            if time.monotonic() > end:
                return False
            time.sleep(STEP_S)

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        self._due.append((time.monotonic() + seconds, do))

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        due = [do for at, do in self._due if at <= now]
        self._due = [(at, do) for at, do in self._due if at > now]
        for do in due:
            do()

    def _check(self) -> None:
        self._check_rest()
        for slot, running in list(self._running.items()):
            code = running.process.exit_code
            if code is not None:
                self._ended(slot, running, code)
            elif running.leaving_until is not None and time.monotonic() > running.leaving_until:
                running.leaving_until = None
                self.tell_where_they_stand()
                raise RoundFailed(f"worker {slot} did not stop within {LEAVE_S:.0f} s of SIGTERM")

    def _ended(self, slot: int, running: _Running, code: int) -> None:
        del self._running[slot]
        self.tell(f"worker {slot} ended with {code}")
        # One that was not listening yet had nothing to lose.
        if running.leaving_until is not None and code in (EXIT_DONE, -signal.SIGTERM):
            return
        if running.replaced and code == EXIT_KAFKA:
            self.counts[REFUSED] += 1
            return
        if code == EXIT_KAFKA and self._lost_its_place(slot, running):
            self.counts[REFUSED] += 1
            self.start([slot])  # as a supervisor would: the other one ends then
            return
        broker_was_away = self._broker.was_away_since(running.started_at - AWAY_PATIENCE_S)
        if code == EXIT_KAFKA and broker_was_away:
            self.counts[GAVE_UP] += 1
            if running.leaving_until is None:
                self.start([slot])
            return
        raise RoundFailed(f"worker {slot} ended by itself with {code}, see {running.process.log}")

    def _lost_its_place(self, slot: int, running: _Running) -> bool:
        """Whether the one that it had replaced joined after it: that had been stopped before it ever had joined."""
        return slot + REPLACED in self._running and "has the instance_id of this one" in running.process.log.read_text()

    # Workers

    def runs(self, slot: int) -> bool:
        return slot in self._running

    def start(self, slots: Collection[int]) -> None:
        """Start those of the slots that do not run."""
        for slot in slots:
            if slot not in self._running:
                self.counts[STARTS] += 1
                log = self._directory / f"worker-{slot}-{self.counts[STARTS]:04}.log"
                process = WorkerProcess(replace(self._order, slot=slot).to_json(), log)
                self._running[slot] = _Running(process, time.monotonic())
                self.tell(f"worker {slot} started, {log.name}")

    def kill(self, slots: Collection[int]) -> None:
        """SIGKILL all of them before one is waited for."""
        self.tell(f"kill -9 {list(slots)}")
        victims = [self._running.pop(slot) for slot in slots]
        for victim in victims:
            victim.process.signal(signal.SIGKILL)
        for victim in victims:
            victim.process.kill()
        self.kills += len(victims)

    def lose_state(self, slots: Collection[int]) -> None:
        """Delete the state directories of workers that do not run."""
        for slot in slots:
            if slot + REPLACED in self._running:
                continue  # that one uses it
            self.counts[STATES_LOST] += 1
            self.tell(f"state of {slot} deleted")
            shutil.rmtree(self._order.settings.state_dir / self._order.app / str(slot), ignore_errors=True)

    def pause(self, slots: Collection[int]) -> list[_Running]:
        """SIGSTOP; returns what `resume` takes."""
        self.tell(f"SIGSTOP {list(slots)}")
        paused = [self._running[slot] for slot in slots if slot in self._running]
        for running in paused:
            running.process.signal(signal.SIGSTOP)
        return paused

    def resume(self, paused: Collection[_Running]) -> None:
        """SIGCONT those of them that were not killed meanwhile."""
        for running in paused:
            if running in self._running.values():
                self.tell(f"SIGCONT {running.process.log.name}")
                running.process.signal(signal.SIGCONT)

    def replace(self, slot: int) -> int:
        """Start another worker in the place of a paused one; returns the new slot of that."""
        running = self._running.pop(slot)
        running.replaced = True
        self._running[slot + REPLACED] = running
        self.start([slot])
        return slot + REPLACED

    def leave(self, slot: int) -> None:
        """SIGTERM, if it runs: a last commit, and exit code 0."""
        running = self._running.get(slot)
        if running is not None and running.leaving_until is None:
            self.tell(f"SIGTERM {slot}")
            running.leaving_until = time.monotonic() + LEAVE_S
            running.process.signal(signal.SIGCONT)
            running.process.signal(signal.SIGTERM)

    def tell_where_they_stand(self) -> None:
        """Have each worker write its stacks into its log."""
        for running in self._running.values():
            running.process.signal(signal.SIGUSR1)
        self.spend(DUMP_S)

    def stop(self) -> None:
        """SIGTERM to all, and wait for them."""
        self._due.clear()
        for slot in list(self._running):
            self.leave(slot)
        self.spend_until(lambda: not self._running, LEAVE_S + 1)

    def close(self) -> None:
        """The end of all that still runs."""
        for running in self._running.values():
            running.process.kill()
        self._running.clear()
        self._story.close()

"""Keeps N worker processes running: starts, restarts with back-off, stops them in order; its exit code is the worst."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum

import structlog

from headrace.app.answers import Answer, read_answer
from headrace.app.errors import ExitCode
from headrace.app.restarts import CrashHistory, RestartPolicy

STOP_DEADLINE_SECONDS = 30.0
TAIL_LINES = 20
READ_BYTES = 65536
SIGNALLED = 128
"""And the number of the signal: what a process that a signal has ended ends with."""
LINE_BYTES_MAX = 64 * 1024 * 1024
"""Of what a worker says: the status of thousands of partitions."""


def to_stderr(output: bytes) -> None:
    sys.stderr.buffer.write(output)
    sys.stderr.buffer.flush()


log = structlog.get_logger("headrace.supervisor")


class Ending(Enum):
    """When a run ends, where nothing fails."""

    WHEN_STOPPED = "it is asked to stop"
    WHEN_DONE = "its work is done"


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """How one worker is started. `order` is written to its stdin as one line. Stdin then stays open for commands
    (see app/control.py): a worker whose stdin ends has lost its supervisor.
    """

    command: Sequence[str]
    order: bytes
    commands: Callable[[], Sequence[bytes]] = tuple
    """Asked when the worker hears others' commands too: what follows its order at once."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How a worker ended that was not to end."""

    slot: int
    exit: str
    """Exit code, or name of the signal."""
    last_output: str
    """The last lines of its stderr."""


@dataclass(slots=True)
class Supervisor:
    """Runs `worker(slot)` for every slot below `workers`. Use once."""

    worker: Callable[[int], WorkerProcess]
    workers: int
    ending: Ending
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    stop_deadline_seconds: float = STOP_DEADLINE_SECONDS
    forward: Callable[[bytes], None] = to_stderr
    """Where the workers' stderr goes."""
    hear: Callable[[int, Answer], None] = lambda slot, answer: None  # noqa: ARG005
    """Is told each answer of a worker, named by its slot."""
    last_failure: Failure | None = None
    restarts: int = 0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _signal: signal.Signals | None = None
    """The one that told it to stop."""
    _complete: set[int] = field(default_factory=set)
    """Slots whose workers said that all work is done."""
    _running: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)
    _deadline: asyncio.TimerHandle | None = None

    def run(self) -> int:
        """Blocks until all workers are done, told to stop by SIGTERM or SIGINT, or given up; the exit code.

        A finite run that a signal has ended before its work was done ends as shells tell of that.
        """
        return asyncio.run(self._supervise_until_signalled())

    async def _supervise_until_signalled(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_by_signal, number)
        code = await self.supervise()
        if code == ExitCode.DONE and self._signal and self.ending is Ending.WHEN_DONE and not self._complete:
            return SIGNALLED + self._signal
        return code

    async def supervise(self) -> int:
        """As `run`, in a loop that also does other things, and until `stop` is called."""
        slots = [asyncio.create_task(self._keep(slot)) for slot in range(self.workers)]
        try:
            await asyncio.wait(slots, return_when=asyncio.FIRST_EXCEPTION)
        finally:  # where one of them fails by our own mistake, the others do not go on without us
            self.stop()
            await asyncio.wait(slots)
            assert self._deadline is not None
            self._deadline.cancel()
        return max(slot.result() for slot in slots)

    async def _keep(self, slot: int) -> int:
        """One worker slot from its first start to its end for good."""
        loop = asyncio.get_running_loop()
        history = CrashHistory(self.policy)
        while not self._stopping.is_set():
            started = loop.time()
            code, tail = await self._run_once(slot)
            if self._stopping.is_set():
                return _code_when_stopped(code)
            if code == ExitCode.DONE and slot in self._complete:
                return ExitCode.DONE
            self.last_failure = Failure(slot, _described(code), tail)
            if code in (ExitCode.INPUT, ExitCode.USAGE):  # no restart can mend the SQL or the settings
                self.stop()
                return code
            delay = history.crashed(started, loop.time())
            if delay is None:
                log.error("worker keeps failing, giving up", slot=slot, exit=_described(code), last_output=tail)
                self.stop()
                return ExitCode.OUTSIDE
            self.restarts += 1
            log.warning("worker ended, restarting", slot=slot, exit=_described(code), delay_seconds=delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
        return ExitCode.DONE

    async def _run_once(self, slot: int) -> tuple[int, str]:
        """Start a worker and wait for its end; returns its exit code and the last lines of its stderr."""
        how = self.worker(slot)
        try:
            process = await asyncio.create_subprocess_exec(
                *how.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which passes it on once
            )
        except OSError as error:  # no memory, process or descriptor is left: there may be later
            return ExitCode.OUTSIDE, f"it could not be started: {error}"
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._running[slot] = process
        log.info("worker started", slot=slot, pid=process.pid)
        if self._stopping.is_set():
            _send(process, signal.SIGTERM)
        process.stdin.writelines(line + b"\n" for line in (how.order, *how.commands()))
        try:
            tail, _ = await asyncio.gather(self._forwarded(process.stderr), self._heard(slot, process.stdout))
            return await process.wait(), tail
        finally:
            del self._running[slot]
            if process.returncode is None:  # we have failed: nobody looks after it any more
                _send(process, signal.SIGKILL)
                await process.wait()

    async def _forwarded(self, stderr: asyncio.StreamReader) -> str:
        """Pass a worker's stderr on until it ends; returns its last lines."""
        tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        unfinished = b""
        while chunk := await stderr.read(READ_BYTES):
            self.forward(chunk)
            *lines, unfinished = (unfinished + chunk).split(b"\n")
            tail.extend(lines)
            unfinished = unfinished[-READ_BYTES:]
        return b"\n".join([*tail, unfinished]).decode(errors="replace").strip()

    async def _heard(self, slot: int, stdout: asyncio.StreamReader) -> None:
        """Pass on what a worker answers until it ends."""
        async for line in stdout:
            if (answer := read_answer(line)) is None:
                log.warning("a worker said what is no answer", slot=slot, line=line[:200].decode(errors="replace"))
                continue
            if answer.complete:
                self._complete.add(slot)
            self.hear(slot, answer)

    def tell(self, command: bytes) -> None:
        """Write a line to the stdin of every worker that runs at the moment."""
        for process in self._running.values():
            assert process.stdin is not None
            process.stdin.write(command + b"\n")  # where the worker is gone already, nobody misses it

    @property
    def slots(self) -> Collection[int]:
        """Of the workers that run at the moment."""
        return self._running.keys()

    def _stop_by_signal(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            log.warning("second signal, ending workers at once", signal=number.name)
            self._kill()
            return
        log.info("stopping workers", signal=number.name)
        self._signal = number
        self.stop()

    def stop(self) -> None:
        """Have all workers drain and end, and start none again."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        for process in self._running.values():
            _send(process, signal.SIGTERM)
        self._deadline = asyncio.get_running_loop().call_later(self.stop_deadline_seconds, self._kill)

    def _kill(self) -> None:
        for slot, process in self._running.items():
            log.error("worker did not stop in time, killed", slot=slot, pid=process.pid)
            _send(process, signal.SIGKILL)


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _code_when_stopped(code: int) -> int:
    """A worker that SIGTERM ended before it could listen for it had nothing to lose; any other signal is a failure."""
    if code == -signal.SIGTERM:
        return ExitCode.DONE
    return code if code in list(ExitCode) else ExitCode.OUTSIDE


def _described(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else str(code)

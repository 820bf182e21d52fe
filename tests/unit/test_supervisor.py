"""The supervisor over small fake workers: what it restarts, what it gives up, and how it stops."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.app.answers import Answer
from headrace.app.restarts import RestartPolicy
from headrace.app.supervisor import Ending, Supervisor, WorkerProcess

DEADLINE_SECONDS = 20.0

# A supervisor in a process of its own: signals go to processes.
SUPERVISOR = """
import json, sys
from headrace.app.logging import configure_logging
from headrace.app.settings import LogFormat, LogLevel
from headrace.app.restarts import RestartPolicy
from headrace.app.supervisor import Ending, Supervisor, WorkerProcess

worker, directory, workers, ending, stop_seconds = sys.argv[1:]
def start(slot):
    return WorkerProcess([sys.executable, "-c", worker, directory, str(slot)], json.dumps({"slot": slot}).encode())
configure_logging(LogFormat.TEXT, LogLevel.INFO)
policy = RestartPolicy(first_delay_seconds=0.01, longest_delay_seconds=0.05)
sys.exit(Supervisor(start, int(workers), Ending[ending], policy, float(stop_seconds)).run())
"""
# What every fake worker begins with: each start leaves a file `started-<slot>-<pid>`.
WORKER = """
import json, os, pathlib, signal, sys, threading
directory, slot = pathlib.Path(sys.argv[1]), sys.argv[2]
order = json.loads(sys.stdin.readline())
assert order == {"slot": int(slot)}
def started():
    (directory / f"started-{slot}-{os.getpid()}").touch()
def starts():
    return len(list(directory.glob(f"started-{slot}-*")))
def complete():
    os.write(1, b'{"complete": true}\\n')
"""
UNTIL_SIGTERM = """
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
started()
stop.wait()
(directory / f"drained-{slot}").touch()
"""


class Supervised:
    """A supervisor process and the traces of its workers."""

    def __init__(self, directory: Path, worker: str, workers: int, ending: str, stop_seconds: float) -> None:
        self.directory = directory
        arguments = [WORKER + worker, str(directory), str(workers), ending, str(stop_seconds)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def pids(self, slot: int) -> list[int]:
        return [int(path.name.split("-")[2]) for path in self.directory.glob(f"started-{slot}-*")]

    def ended(self) -> tuple[int, str]:
        """Exit code and stderr."""
        _, stderr = self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode, stderr


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    supervised: list[Supervised] = []

    def begin(worker: str, *, workers: int = 1, ending: str = "WHEN_STOPPED", stop_seconds: float = 10) -> Supervised:
        supervised.append(Supervised(tmp_path, worker, workers, ending, stop_seconds))
        return supervised[-1]

    yield begin
    for each in supervised:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_supervisor_ends_with_0_when_all_workers_are_done(supervise) -> None:
    run = supervise("started()\ncomplete()", workers=3, ending="WHEN_DONE")
    code, _ = run.ended()
    assert code == 0
    assert [len(run.pids(slot)) for slot in range(3)] == [1, 1, 1]


def test_killed_worker_is_restarted_while_the_others_go_on(supervise) -> None:
    run = supervise(UNTIL_SIGTERM, workers=2)
    wait_until(lambda: len(run.pids(0)) == len(run.pids(1)) == 1)
    os.kill(run.pids(0)[0], signal.SIGKILL)
    wait_until(lambda: len(run.pids(0)) == 2)
    run.process.send_signal(signal.SIGTERM)
    code, stderr = run.ended()
    assert code == 0
    assert len(run.pids(1)) == 1
    assert "SIGKILL" in stderr


def test_failing_worker_is_restarted_until_it_succeeds(supervise) -> None:
    run = supervise("started()\nsys.exit(3 if starts() < 3 else complete())", ending="WHEN_DONE")
    code, _ = run.ended()
    assert code == 0
    assert len(run.pids(0)) == 3


def test_crash_loop_ends_everything_with_3_and_the_last_error(supervise) -> None:
    failing = f"if slot == '0':\n  started()\n  sys.exit('no such luck')\n{UNTIL_SIGTERM}".replace(
        "sys.exit('no such luck')", "print('no such luck', file=sys.stderr); os._exit(3)"
    )
    run = supervise(failing, workers=2)
    code, stderr = run.ended()
    assert code == 3
    assert len(run.pids(0)) == 5
    assert "giving up" in stderr
    assert "no such luck" in stderr.split("giving up")[1]
    assert not any(is_alive(pid) for pid in run.pids(1))


@pytest.mark.parametrize("code", [1, 2])
def test_worker_that_says_the_sql_or_usage_is_wrong_is_not_restarted(supervise, code: int) -> None:
    run = supervise(f"started()\nsys.exit({code})")
    assert run.ended()[0] == code
    assert len(run.pids(0)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_all_workers_and_ends_with_0(supervise, number: signal.Signals) -> None:
    run = supervise(UNTIL_SIGTERM, workers=2)
    wait_until(lambda: len(run.pids(0)) == len(run.pids(1)) == 1)
    run.process.send_signal(number)
    assert run.ended()[0] == 0
    assert {path.name for path in run.directory.glob("drained-*")} == {"drained-0", "drained-1"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_finite_run_that_a_signal_ends_does_not_end_with_0(supervise, number: signal.Signals, code: int) -> None:
    run = supervise(UNTIL_SIGTERM, workers=2, ending="WHEN_DONE")
    wait_until(lambda: len(run.pids(0)) == len(run.pids(1)) == 1)
    run.process.send_signal(number)
    assert run.ended()[0] == code
    assert {path.name for path in run.directory.glob("drained-*")} == {"drained-0", "drained-1"}


def test_finite_run_that_is_complete_ends_with_0_though_a_signal_comes(supervise) -> None:
    run = supervise(f"if slot == '0': complete()\n{UNTIL_SIGTERM}", workers=2, ending="WHEN_DONE")
    wait_until(lambda: len(run.pids(0)) == len(run.pids(1)) == 1)
    run.process.send_signal(signal.SIGTERM)
    assert run.ended()[0] == 0


def test_worker_of_a_finite_run_that_somebody_else_stops_is_restarted(supervise) -> None:
    run = supervise(f"if starts(): started(); complete(); sys.exit()\n{UNTIL_SIGTERM}", ending="WHEN_DONE")
    wait_until(lambda: len(run.pids(0)) == 1)
    os.kill(run.pids(0)[0], signal.SIGTERM)
    assert run.ended()[0] == 0
    assert len(run.pids(0)) == 2


def test_exit_code_is_the_worst_of_all_workers(supervise) -> None:
    draining_badly = UNTIL_SIGTERM + "sys.exit(3 if slot == '1' else 0)\n"
    run = supervise(draining_badly, workers=3)
    wait_until(lambda: all(run.pids(slot) for slot in range(3)))
    run.process.send_signal(signal.SIGTERM)
    assert run.ended()[0] == 3


def test_worker_that_does_not_stop_in_time_is_killed(supervise) -> None:
    run = supervise("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nstarted()\nsignal.pause()", stop_seconds=0.1)
    wait_until(lambda: bool(run.pids(0)))
    run.process.send_signal(signal.SIGTERM)
    code, stderr = run.ended()
    assert code == 3
    assert "did not stop in time" in stderr
    assert not is_alive(run.pids(0)[0])


def test_second_signal_kills_at_once(supervise) -> None:
    ignoring = """
signal.signal(signal.SIGTERM, lambda *_: (directory / "asked").touch())
started()
while True: signal.pause()
"""
    run = supervise(ignoring, stop_seconds=1000)
    wait_until(lambda: bool(run.pids(0)))
    run.process.send_signal(signal.SIGINT)
    wait_until(lambda: (run.directory / "asked").exists())
    run.process.send_signal(signal.SIGINT)
    assert run.ended()[0] == 3


def test_stdin_of_workers_ends_with_the_supervisor(supervise) -> None:
    run = supervise('started()\nsys.stdin.read()\n(directory / "orphaned").touch()')
    wait_until(lambda: bool(run.pids(0)))
    run.process.kill()
    wait_until(lambda: (run.directory / "orphaned").exists())


# In this process: the ways of a supervisor that do not end it.


def a_worker(directory: Path, worker: str) -> Callable[[int], WorkerProcess]:
    arguments = [sys.executable, "-c", WORKER + worker, str(directory)]
    return lambda slot: WorkerProcess([*arguments, str(slot)], json.dumps({"slot": slot}).encode())


def test_what_is_no_answer_of_a_worker_is_not_heard(tmp_path: Path) -> None:
    lines = ["42", "null", "[1]", '{"more": 1}', '{"failure": 1}', "\\xff", "{", '{"failure": "the disk is full"}']
    saying = f"for line in {lines}: os.write(1, line.encode() + b'\\n')\nsys.exit(1)"
    heard: list[Answer] = []
    supervisor = Supervisor(
        a_worker(tmp_path, saying), 1, Ending.WHEN_STOPPED, hear=lambda _slot, answer: heard.append(answer)
    )
    assert asyncio.run(supervisor.supervise()) == 1
    assert heard == [Answer(failure="the disk is full")]


def test_no_worker_is_left_where_looking_after_one_of_them_fails(tmp_path: Path) -> None:
    def breaks(slot: int, _answer: Answer) -> None:
        wait_until(lambda: bool(list(tmp_path.glob("started-1-*"))))
        raise ZeroDivisionError(slot)

    talking = f"""
if slot == "0":
    started()
    os.write(1, b'{{"failure": "x"}}\\n')
    signal.pause()
{UNTIL_SIGTERM}"""
    supervisor = Supervisor(a_worker(tmp_path, talking), 2, Ending.WHEN_STOPPED, hear=breaks)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(supervisor.supervise())
    pids = [int(path.name.split("-")[2]) for path in tmp_path.glob("started-*")]
    assert len(pids) == 2
    assert not any(map(is_alive, pids))
    assert (tmp_path / "drained-1").exists()


def test_worker_that_cannot_be_started_for_want_of_memory_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, attempts = asyncio.create_subprocess_exec, iter(range(3))

    async def scarcely(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
        if next(attempts) < 2:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return await start(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", scarcely)
    supervisor = Supervisor(
        a_worker(tmp_path, "started()\ncomplete()"), 1, Ending.WHEN_DONE, RestartPolicy(first_delay_seconds=0.01)
    )
    assert asyncio.run(supervisor.supervise()) == 0
    assert (supervisor.restarts, len(list(tmp_path.glob("started-0-*")))) == (2, 1)
    assert supervisor.last_failure is not None
    assert "Cannot allocate memory" in supervisor.last_failure.last_output

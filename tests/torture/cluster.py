"""A broker that can be killed, stopped and started again on the same port with the same data."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from headrace.app import broker as brokers
from headrace.app.broker import properties

QUICK: Mapping[str, str] = {
    # A transaction that timed out is ended within a second and not within ten.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # A broker that was killed may come back as soon as its predecessor's session is over.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}
QUICK_START = "-XX:TieredStopAtLevel=1"
"""Half of the time until a broker answers is spent on compiling code that it then hardly uses."""


class TortureBroker:
    """One broker of its own, in a home of its own; the jars are the user's."""

    def __init__(self, directory: Path) -> None:
        properties.DEVELOPMENT = {**properties.DEVELOPMENT, **QUICK}
        os.environ["JDK_JAVA_OPTIONS"] = QUICK_START
        self._home = brokers.Home(directory, brokers.Home.of_user().jars)
        self._port = brokers.free_port()
        self._paused = False
        self._well_since = 0.0
        self._start()

    @property
    def address(self) -> str:
        return self._broker.address

    @property
    def log(self) -> Path:
        """What the broker said since its last start."""
        return self._broker.directory / "broker.log"

    def was_away_since(self, moment: float) -> bool:
        """Whether it has not answered at some time after `moment` (monotonic seconds)."""
        return self._away or self._paused or self._well_since > moment

    def _start(self) -> None:
        self._broker = brokers.start(self._home, self._port, brokers.Security.PLAINTEXT, lambda *_: None)
        self._away = False
        self._well_since = time.monotonic()

    def kill(self) -> None:
        os.kill(self._broker.pid, signal.SIGKILL)
        os.waitpid(self._broker.pid, 0)
        self._away = True

    def pause(self) -> None:
        os.kill(self._broker.pid, signal.SIGSTOP)
        self._paused = True

    def recover(self) -> None:
        """Be well again, whatever was done to it."""
        if self._paused:
            os.kill(self._broker.pid, signal.SIGCONT)
            self._paused = False
            self._well_since = time.monotonic()
        if self._away:
            self._start()

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._broker.pid, signal.SIGCONT)
        brokers.stop(self._broker)

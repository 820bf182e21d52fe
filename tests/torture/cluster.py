"""A broker that can be killed, stopped and started again on the same port with the same data."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from headrace.app.broker import Broker, Home, Security, free_port
from headrace.app.broker.jars import class_path
from headrace.app.broker.kafka_tools import broker_command, format_storage, new_cluster_id, spawn
from headrace.app.broker.process import wait_until_ready
from headrace.app.broker.properties import HOST, server_properties

CONTROLLER_ID = 2
QUICK: Mapping[str, str] = {
    # A transaction that timed out is ended within a second and not within ten.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # A broker that was killed may come back as soon as its predecessor's session is over.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}
JAVA_OPTIONS = " ".join(
    [
        # Half of the time until a broker answers is spent on compiling code that it then hardly uses.
        "-XX:TieredStopAtLevel=1",
        "-Dorg.slf4j.simpleLogger.log.kafka.coordinator.transaction=info",
    ]
)
FORGOTTEN = re.compile(r"Couldn't find leader endpoint for partitions \w+\((.*?)\)")
"""What Kafka logs of partitions that it takes for deleted while they only have no leader (KAFKA-20734, in 4.3.1): the
end of a transaction is not written there, though the transaction counts as committed."""


class TortureBroker:
    """One broker and its controller, in a directory of their own; the jars are the user's.

    The controller is a process of its own and is not killed: a broker that is its own controller comes back believing
    that it still leads its partitions, and forgets the ends of transactions (`FORGOTTEN`) when it learns better.
    """

    def __init__(self, directory: Path) -> None:
        os.environ["JDK_JAVA_OPTIONS"] = JAVA_OPTIONS
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._jars = class_path(Home.of_user().jars, lambda *_: None)
        self._port, controller_port = free_port(), free_port()
        voters = {"controller.quorum.voters": f"{CONTROLLER_ID}@{HOST}:{controller_port}"}
        listeners = {"listeners": f"PLAINTEXT://{HOST}:{self._port}"}
        text = server_properties(self._port, controller_port, directory / "data", None)
        self._properties = directory / "broker.properties"
        self._properties.write_text(_changed(text, QUICK | voters | listeners | {"process.roles": "broker"}))
        controller = directory / "controller.properties"
        own = {
            "process.roles": "controller",
            "node.id": str(CONTROLLER_ID),
            "listeners": f"CONTROLLER://{HOST}:{controller_port}",
            "log.dirs": str(directory / "controller"),
        }
        controller.write_text(_changed(text, QUICK | voters | own))
        cluster_id = new_cluster_id()
        for properties in (self._properties, controller):
            format_storage(self._jars, properties, cluster_id, None)
        self._away = self._paused = False
        self._well_since = 0.0
        self._forgotten: list[str] = []
        self._controller = spawn(broker_command(self._jars, controller), directory / "controller.log")
        try:
            self._start()
        except BaseException:
            _end(self._controller)
            raise

    @property
    def address(self) -> str:
        return f"{HOST}:{self._port}"

    @property
    def log(self) -> Path:
        """What the broker said since its last start."""
        return self._directory / "broker.log"

    @property
    def forgotten(self) -> list[str]:
        """Partitions to which Kafka did not write the end of a transaction, of all its starts, in order."""
        return [*self._forgotten, *forgotten_partitions(self.log.read_text())]

    def was_away_since(self, moment: float) -> bool:
        """Whether it has not answered at some time after `moment` (monotonic seconds)."""
        return self._away or self._paused or self._well_since > moment

    def _start(self) -> None:
        if self._away:
            self._forgotten = self.forgotten  # a start begins a new log
        self._pid = spawn(broker_command(self._jars, self._properties), self.log)
        try:
            wait_until_ready(Broker(self._port, Security.PLAINTEXT, self._pid, self._directory))
        except BaseException:
            _end(self._pid)
            raise
        self._away = False
        self._well_since = time.monotonic()

    def kill(self) -> None:
        _end(self._pid)
        self._away = True

    def pause(self) -> None:
        """The controller too, as if the machine stood still."""
        for pid in (self._controller, self._pid):
            os.kill(pid, signal.SIGSTOP)
        self._paused = True

    def recover(self) -> None:
        """Be well again, whatever was done to it."""
        if self._paused:
            for pid in (self._controller, self._pid):
                os.kill(pid, signal.SIGCONT)
            self._paused = False
            self._well_since = time.monotonic()
        if self._away:
            self._start()

    def stop(self) -> None:
        """There is nothing that is to be kept."""
        for pid in (self._pid, self._controller):
            _end(pid)


def forgotten_partitions(log: str) -> list[str]:
    """Partitions that a broker's log says are left without the end of a transaction."""
    return [partition for partitions in FORGOTTEN.findall(log) for partition in partitions.split(", ")]


def _changed(properties: str, entries: Mapping[str, str]) -> str:
    """Of two lines for the same name the later one counts."""
    return properties + "".join(f"{name}={value}\n" for name, value in entries.items())


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

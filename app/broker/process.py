"""A development broker as a process: started, found again by its pid file, and stopped."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from headrace.app.broker.credentials import credentials_in, write_private
from headrace.app.broker.home import Home, Security
from headrace.app.broker.jars import INSTALL_EXTRA, MISSING_EXTRA, class_path
from headrace.app.broker.kafka_tools import broker_command, format_storage, new_cluster_id, spawn
from headrace.app.broker.properties import HOST, Credentials, client_properties, client_toml, server_properties
from headrace.app.errors import OutsideError, UsageError

try:
    import psutil
except ImportError as error:
    raise OutsideError(f"{MISSING_EXTRA} ({error.name})", hint=INSTALL_EXTRA) from error

READY_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.1
LOG_TAIL_LINES = 12


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker."""

    port: int
    security: Security
    pid: int
    directory: Path

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def client_config(self) -> dict[str, str]:
        """What a confluent-kafka client needs to reach it."""
        return client_properties(self.port, _credentials(self.directory, self.security))

    @property
    def client_settings(self) -> Path:
        """A settings file for `headrace --config`."""
        return self.directory / "client.toml"


def free_port() -> int:
    """A TCP port of this machine that nothing listens on at this moment.

    Below those that systems hand out for outgoing connections: one of these could take it before a broker does.
    """
    ports = list(range(15_000, 32_000))
    random.shuffle(ports)
    for port in ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise OutsideError("no port from 15000 to 31999 is free")


def running(home: Home) -> Sequence[Broker]:
    """All running brokers of a home, by port."""
    return sorted(_found(home), key=lambda broker: broker.port)


def running_on(home: Home, port: int) -> Broker | None:
    """The running broker of a port."""
    return next((broker for broker in running(home) if broker.port == port), None)


def start(home: Home, port: int, security: Security, on_fetch: Callable[[int, int], None]) -> Broker:
    """Start a broker and wait until it answers; one that runs already is returned as it is.

    Raises OutsideError where the port is taken or the broker does not come up; then nothing is left running.
    """
    directory = home.broker(port, security)
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory):
        already = running_on(home, port)
        if already and already.security == security:
            return already
        if already:
            hint = f"headrace broker stop --port {port}"
            raise UsageError(f"a {already.security} broker runs on port {port}; stop it first", hint)
        _check_port(port)
        jars = class_path(home.jars, on_fetch)
        credentials = _credentials(directory, security)
        properties = directory / "server.properties"
        write_private(properties, server_properties(port, free_port(), directory / "data", credentials))
        write_private(directory / "client.toml", client_toml(port, credentials))
        if not (directory / "data" / "meta.properties").exists():
            format_storage(jars, properties, new_cluster_id(), credentials)
        broker = Broker(port, security, spawn(broker_command(jars, properties), directory / "broker.log"), directory)
        try:
            (directory / "broker.json").write_text(json.dumps({"pid": broker.pid}))
            wait_until_ready(broker)
        except BaseException:
            _kill(broker)
            raise
        return broker


def stop(broker: Broker) -> None:
    """End a broker in order and wait for it; its data stay for the next start."""
    process = _process(broker.directory)
    if process:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except psutil.TimeoutExpired:
            _kill(broker)
    (broker.directory / "broker.json").unlink(missing_ok=True)


def _found(home: Home) -> Iterator[Broker]:
    for directory in (home.directory / "brokers").glob("*-*"):
        process = _process(directory)
        if process:
            port, security = directory.name.split("-")
            yield Broker(int(port), Security(security), process.pid, directory)


def _process(directory: Path) -> psutil.Process | None:
    """The process of the pid file, where it is still this broker and not a later process with the same id."""
    try:
        pid = json.loads((directory / "broker.json").read_text())["pid"]
    except FileNotFoundError:
        return None
    try:
        process = psutil.Process(pid)
        return process if str(directory / "server.properties") in process.cmdline() else None
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return None


def _kill(broker: Broker) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(broker.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # started by another process
        os.waitpid(broker.pid, 0)
    (broker.directory / "broker.json").unlink(missing_ok=True)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            reason = "is taken by another program" if not isinstance(error, PermissionError) else "needs more rights"
            raise OutsideError(f"port {port} {reason}", hint="choose another one with --port") from error


def wait_until_ready(broker: Broker) -> None:
    """Ready is: the broker names itself in its metadata, and serves consumer groups."""
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while not _listens(broker.port):
        _check_alive(broker)
        if time.monotonic() > deadline:
            _raise_failed(broker, f"did not open its port within {READY_TIMEOUT_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    while not _answers(broker.client_config):
        _check_alive(broker)
        if time.monotonic() > deadline:
            _raise_failed(broker, f"did not answer within {READY_TIMEOUT_SECONDS:.0f} s")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _answers(client_config: Mapping[str, str]) -> bool:
    from confluent_kafka import Consumer, KafkaException, TopicPartition
    from confluent_kafka.admin import AdminClient

    quiet: dict[str, Any] = {"log_level": 0, "error_cb": lambda _: None}
    try:
        if not AdminClient({**client_config, **quiet}).list_topics(timeout=2).brokers:
            return False
        # The first question about a group creates the topic of group offsets: no app has to wait for it then.
        # Asked by a consumer: the admin client's way ends in a segmentation fault while there is no coordinator
        # (librdkafka 2.16).
        asking = Consumer({**client_config, **quiet, "group.id": "headrace-start"})
        try:
            asking.committed([TopicPartition("headrace-start", 0)], timeout=READY_TIMEOUT_SECONDS)
        finally:
            asking.close()
    except KafkaException:
        return False
    return True


def _check_alive(broker: Broker) -> None:
    ended, _ = os.waitpid(broker.pid, os.WNOHANG)
    if ended:
        _raise_failed(broker, "ended while starting")


def _raise_failed(broker: Broker, what: str) -> NoReturn:
    log = broker.directory / "broker.log"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
    raise OutsideError(f"the broker on port {broker.port} {what}; {log} ends with:\n{tail}")


def _credentials(directory: Path, security: Security) -> Credentials | None:
    return credentials_in(directory / "credentials") if security is Security.SECURE else None


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep two starts of the same broker apart; the second one then finds the first one running."""
    with (directory / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

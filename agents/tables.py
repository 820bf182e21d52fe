"""The committed state of a task on this machine: RocksDB in a directory of its own, or a plain dict."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
from rocksdict import Options, Rdict, ReadOptions, WriteBatch

from headrace.agents.errors import StateFailure
from headrace.agents.topology import TaskId
from headrace.sql.runtime.records import Change

log = structlog.get_logger(__name__)

POSITION_KEY = b""
"""Holds the changelog position; no task has an entry with an empty key."""
IDENTITY_FILE = "headrace.json"
WRITE_BUFFER_BYTES = 32 * 1024 * 1024


class MemoryStore:
    """A `Store` in a dict; scanning sorts."""

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self._position: int | None = None

    @property
    def position(self) -> int | None:
        return self._position

    def get(self, key: bytes) -> bytes | None:
        return self._entries.get(key)

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(key for key in self._entries if low <= key < high):
            yield key, self._entries[key]

    def apply(self, changes: Iterable[Change], position: int) -> None:
        for key, value in changes:
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = value
        self._position = position

    def close(self) -> None:
        pass


class RocksStore:
    """A `Store` in RocksDB. Each `apply` is one write batch, changes and position together, kept by the WAL.

    `apply` raises StateFailure.
    """

    def __init__(self, path: Path) -> None:
        """Raises what RocksDB says where the directory is locked or corrupted."""
        self.path = path
        self._db = Rdict(str(path), _options())
        position = self._db.get(POSITION_KEY)
        self._position = None if position is None else int(position)

    @property
    def position(self) -> int | None:
        return self._position

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._db.get(key)
        return value

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(high)
        entries = self._db.iter(bounds)
        entries.seek(low)
        while entries.valid():
            key = entries.key()
            if key != POSITION_KEY:
                yield key, entries.value()
            entries.next()

    def apply(self, changes: Iterable[Change], position: int) -> None:
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for key, value in changes:
            if value is None:
                delete(key)
            else:
                put(key, value)
        put(POSITION_KEY, b"%d" % position)
        try:
            self._db.write(batch)
        except Exception as error:  # rocksdict raises nothing more exact
            raise StateFailure(f"local state in {self.path} cannot be written: {error}") from error
        self._position = position

    def close(self) -> None:
        try:
            self._db.close()
        except Exception as error:  # noqa: BLE001 (what could not be written is written again from the changelog)
            log.warning("local state was not closed in order", path=str(self.path), error=str(error))


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    return options


@dataclass(frozen=True, slots=True)
class Identity:
    """What a state directory is of; anything else found in its place is kept aside."""

    app: str
    plan_version: str
    task: str
    changelog: str
    """Topic, partition and topic id: a topic deleted and created again has other offsets."""


def open_rocks(worker_dir: Path, task: TaskId, identity: Identity, age_s_max: float) -> RocksStore:
    """Open the task's state under a worker's directory, which is used by no other worker.

    What is of another app, plan or changelog, corrupted, or not written for longer than `age_s_max` (by then the
    changelog has forgotten deletions that the directory missed) is kept aside under another name and rebuilt. A
    directory that a paused process still holds is left to it, and another one used.
    """
    worker_dir.mkdir(parents=True, exist_ok=True)
    for attempt in range(100):
        path = worker_dir / (f"{task}" if attempt == 0 else f"{task}~{attempt}")
        try:
            return _open_directory(path, identity, age_s_max)
        except _Locked:
            log.warning("state directory is held by another process, using a new one", path=str(path))
    raise AssertionError(f"a hundred directories of task {task} are locked")


def held_tasks(worker_dir: Path) -> set[TaskId]:
    """Tasks of which a worker's directory has state."""
    held = set()
    for identity in worker_dir.glob(f"*/{IDENTITY_FILE}"):
        name = identity.parent.name.split("~", 1)[0]
        stage, _, partition = name.rpartition("-")
        if ".aside-" not in identity.parent.name and partition.isdigit():
            held.add(TaskId(stage, int(partition)))
    return held


class _Locked(Exception):  # noqa: N818
    """Another process has the directory open."""


def _open_directory(path: Path, identity: Identity, age_s_max: float) -> RocksStore:
    unusable = _unusable(path, identity, age_s_max) if path.exists() else ""
    path.mkdir(exist_ok=True)
    store = _open_or_rebuild(path)
    if unusable:
        # Only who holds the lock may move the directory.
        store.close()
        del store
        set_aside(path, unusable)
        path.mkdir()
        store = RocksStore(path)
    (path / IDENTITY_FILE).write_text(json.dumps(asdict(identity)))
    return store


def _open_or_rebuild(path: Path) -> RocksStore:
    try:
        return RocksStore(path)
    except Exception as error:  # rocksdict raises nothing more exact
        if "lock" in str(error).lower():
            raise _Locked from error
        failure = str(error)
    set_aside(path, f"it cannot be opened: {failure}")
    path.mkdir()
    return RocksStore(path)


def _unusable(path: Path, identity: Identity, age_s_max: float) -> str:
    """Why a directory must not be used; empty where it may, or is new."""
    files = list(path.iterdir())
    if not files:
        return ""
    try:
        found = json.loads((path / IDENTITY_FILE).read_text())
    except (OSError, ValueError):
        return "it does not say what it is of"
    if found != asdict(identity):
        return f"it is of {found}"
    age_s = time.time() - max(file.stat().st_mtime for file in files)
    return f"it was not written for {age_s / 3600:.0f} hours" if age_s > age_s_max else ""


def set_aside(path: Path, reason: str) -> None:
    """Rename a directory that nobody has open, and say so."""
    aside = path.with_name(f"{path.name}.aside-{time.time_ns()}")
    path.rename(aside)
    log.error(
        "local state is not usable, rebuilding it from the changelog", path=str(path), kept=str(aside), reason=reason
    )

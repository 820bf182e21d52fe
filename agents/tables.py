"""The committed state of a task on this machine: RocksDB in a directory of its own, or in memory."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import structlog
from rocksdict import BlockBasedOptions, Cache, MemtableFactory, Options, Rdict, ReadOptions, WriteBatch, WriteOptions
from sortedcontainers import SortedDict

from headrace.agents.errors import StateFailure
from headrace.agents.topology import TaskId
from headrace.sql.runtime.records import Change, Store

log = structlog.get_logger(__name__)

POSITION_KEY = b""
"""Holds the changelog position; no task has an entry with an empty key."""
IDENTITY_FILE = "headrace.json"
CONDEMNED_FILE = "condemned"
"""Says why a directory, while it was open, was found not to be usable: it is rebuilt when it is opened next."""
WRITE_BUFFER_BYTES = 8 * 1024 * 1024
LOADING_BUFFER_BYTES = 16 * 1024 * 1024
WRITE_BUFFERS = 6
BLOCK_CACHE_BYTES = 32 * 1024 * 1024
"""Of the cache that all stores of a process share: by default each has one of this size, so 64 of them 2 GiB."""
BUSY_BUFFERS = 3
"""Full write buffers above which loading waits; from `WRITE_BUFFERS` - 1 on RocksDB itself would hold writers up."""
BUSY_FILES = 12
"""Files not yet merged above which loading waits; from 20 on RocksDB itself would hold writers up."""
ROOM_S = 0.002
SIZE_PROPERTIES = ("rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables")
COUNT_STEP = 4_096


class UnusableState(StateFailure):
    """Local state is damaged, or does not fit its changelog. It is condemned: who opens it next begins anew."""


class RestorableStore(Store, Protocol):
    """A store that can be filled from its changelog."""

    def loading(self) -> AbstractContextManager[None]:
        """While inside, `apply` is fast, and nothing can be looked up.

        A process that ends inside keeps all changes up to some position. Without an exception, everything is kept.
        """

    @property
    def size(self) -> int:
        """Bytes that it takes, by estimate."""

    def entries(self) -> Generator[int, None, None]:
        """Count the entries: the count so far, after every few thousand, and at the end."""

    def condemn(self, reason: str) -> None:
        """Whoever opens the store next is to begin with an empty one."""


class MemoryStore:
    """A `Store` in memory."""

    def __init__(self) -> None:
        self._entries: SortedDict[bytes, bytes] = SortedDict()
        self._position: int | None = None

    @property
    def position(self) -> int | None:
        return self._position

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._entries.get(key)
        return value

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in self._entries.irange(low, high, inclusive=(True, False)):
            yield key, self._entries[key]

    def apply(self, changes: Iterable[Change], position: int) -> None:
        for key, value in changes:
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = value
        self._position = position

    def loading(self) -> AbstractContextManager[None]:
        return nullcontext()

    @property
    def size(self) -> int:
        return sum(len(key) + len(value) for key, value in self._entries.items())

    def entries(self) -> Generator[int, None, None]:
        yield len(self._entries)

    def condemn(self, reason: str) -> None:
        pass

    def close(self) -> None:
        pass


class RocksStore:
    """A `Store` in RocksDB. Each `apply` is one write batch, changes and position together, kept by the WAL.

    Everything raises StateFailure where the disk is full, and UnusableState where files turn out to be damaged.
    """

    def __init__(self, path: Path) -> None:
        """Raises what RocksDB says where the directory is locked or damaged."""
        self.path = path
        self._db = _opened(path, _options())
        self._is_loading = False
        position = self._db.get(POSITION_KEY)
        self._position = None if position is None else int(position)

    @property
    def position(self) -> int | None:
        return self._position

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:  # rocksdict raises nothing more exact, here and below
            raise self._failure(error) from error
        return value

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(high)
        cursor = self._db.iter(bounds)
        try:
            cursor.seek(low)
            while cursor.valid():
                key = cursor.key()
                if key != POSITION_KEY:
                    yield key, cursor.value()
                cursor.next()
            cursor.status()  # one that meets a damaged block looks as if it were at its end
        except Exception as error:
            raise self._failure(error) from error
        finally:
            del cursor  # which keeps the directory locked, and a traceback would keep it

    @property
    def size(self) -> int:
        try:
            return sum(self._db.property_int_value(name) or 0 for name in SIZE_PROPERTIES)
        except Exception as error:
            raise self._failure(error) from error

    def entries(self) -> Generator[int, None, None]:
        cursor = self._db.iter()
        try:
            cursor.seek_to_first()
            count = 0
            while cursor.valid():
                cursor.next()
                count += 1
                if count % COUNT_STEP == 0:
                    yield count
            cursor.status()
            yield count if self._position is None else count - 1
        except Exception as error:
            raise self._failure(error) from error
        finally:
            del cursor

    def apply(self, changes: Iterable[Change], position: int) -> None:
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for key, value in changes:
            if value is None:
                delete(key)
            else:
                put(key, value)
        put(POSITION_KEY, b"%d" % position)
        if self._is_loading:
            self._await_room()
        try:
            self._db.write(batch)
        except Exception as error:
            raise self._failure(error) from error
        self._position = position

    def condemn(self, reason: str) -> None:
        (self.path / CONDEMNED_FILE).write_text(reason)

    def _failure(self, error: Exception) -> StateFailure:
        if "corruption" not in str(error).lower():
            return StateFailure(f"local state in {self.path} cannot be used: {error}")
        self.condemn(f"it is damaged: {error}")
        return UnusableState(f"local state in {self.path} is damaged: {error}")

    @contextmanager
    def loading(self) -> Iterator[None]:
        """See RestorableStore. Without the WAL, RocksDB keeps a prefix of what was written: whole batches, in order."""
        self._reopen(_loading_options())
        unlogged = WriteOptions()
        unlogged.disable_wal = True  # type: ignore[method-assign, assignment]  # a property, whatever the stub says
        self._db.set_write_options(unlogged)
        self._is_loading = True
        try:
            yield
        finally:
            # Before anything is logged again: after a crash the log must not be ahead of what lies before it.
            self._flush()
            self._is_loading = False
            self._reopen(_options())

    def _await_room(self) -> None:
        """Where RocksDB holds a writer up, it holds the whole interpreter up; so wait before it has to."""
        measured = self._db.property_int_value
        while not measured("rocksdb.background-errors") and (
            (measured("rocksdb.num-immutable-mem-table") or 0) > BUSY_BUFFERS
            or (measured("rocksdb.num-files-at-level0") or 0) > BUSY_FILES
        ):
            time.sleep(ROOM_S)

    def _flush(self) -> None:
        try:
            self._db.flush()
        except Exception as error:
            raise self._failure(error) from error

    def _reopen(self, options: Options) -> None:
        self._db.close()
        self._db = _opened(self.path, options)

    def close(self) -> None:
        try:
            self._db.close()
        except Exception as error:  # noqa: BLE001 (what could not be written is written again from the changelog)
            log.warning("local state was not closed in order", path=str(self.path), error=str(error))


def _opened(path: Path, options: Options) -> Rdict:
    # Options that are not given by column family are overruled by those with which the directory was made.
    return Rdict(str(path), options, {"default": options})


@cache
def block_cache() -> Cache:
    return Cache(BLOCK_CACHE_BYTES)


def _options() -> Options:
    """For running: a group that is new is mostly known to be so without a look at the files."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(WRITE_BUFFERS)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, block_based=False)
    blocks.set_block_cache(block_cache())
    options.set_block_based_table_factory(blocks)
    return options


def _loading_options() -> Options:
    """For loading: what is written is sorted when it is flushed, in a thread of RocksDB, not while it is written."""
    options = _options()
    options.set_write_buffer_size(LOADING_BUFFER_BYTES)
    options.set_memtable_factory(MemtableFactory.vector())
    options.set_allow_concurrent_memtable_write(False)
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

    What is of another app, plan or changelog, damaged, or not written for longer than `age_s_max` (by then the
    changelog has forgotten deletions that the directory missed) is kept aside under another name and rebuilt. Raises
    StateFailure where the directory is open already.
    """
    path = worker_dir / str(task)
    if path.exists() and (reason := _unusable(path, identity, age_s_max)):
        set_aside(path, reason)
    if not path.exists():
        _create(path, identity)
    try:
        return RocksStore(path)
    except Exception as error:  # rocksdict raises nothing more exact
        if "/LOCK:" in str(error):
            raise StateFailure(f"local state in {path} is in use: {error}") from error
        reason = f"it cannot be opened: {error}"
    set_aside(path, reason)
    _create(path, identity)
    return RocksStore(path)


def held_tasks(worker_dir: Path) -> set[TaskId]:
    """Tasks of which a worker's directory has state."""
    held = set()
    for identity in worker_dir.glob(f"*/{IDENTITY_FILE}"):
        stage, _, partition = identity.parent.name.rpartition("-")
        if partition.isdigit() and not _is_aside(identity.parent):
            held.add(TaskId(stage, int(partition)))
    return held


def _create(path: Path, identity: Identity) -> None:
    """Make an empty directory that says what it is of: both at once, as a process may be killed in between."""
    unnamed = path.with_name(f"{path.name}.new")
    shutil.rmtree(unnamed, ignore_errors=True)
    unnamed.mkdir(parents=True)
    (unnamed / IDENTITY_FILE).write_text(json.dumps(asdict(identity)))
    unnamed.rename(path)


def _unusable(path: Path, identity: Identity, age_s_max: float) -> str:
    """Why a directory must not be used; empty where it may."""
    try:
        found = json.loads((path / IDENTITY_FILE).read_text())
    except (OSError, ValueError):
        return "it does not say what it is of"
    if found != asdict(identity):
        return f"it is of {found}"
    if (condemned := path / CONDEMNED_FILE).exists():
        return condemned.read_text()
    if not (path / "CURRENT").exists() and any(path.glob("[0-9]*.*")):
        return "its file CURRENT is missing"  # RocksDB would begin anew, and delete what there is
    age_s = time.time() - max(file.stat().st_mtime for file in path.iterdir())
    return f"it was not written for {age_s / 3600:.0f} hours" if age_s > age_s_max else ""


def set_aside(path: Path, reason: str) -> None:
    """Rename a directory that nobody has open, and say so. Of each task, the newest one is kept."""
    for older in path.parent.glob(f"{path.name}{_ASIDE}*"):
        shutil.rmtree(older, ignore_errors=True)
    aside = path.with_name(f"{path.name}{_ASIDE}{time.time_ns()}")
    path.rename(aside)
    log.error(
        "local state is not usable, rebuilding it from the changelog", path=str(path), kept=str(aside), reason=reason
    )


_ASIDE = ".aside-"


def _is_aside(path: Path) -> bool:
    return _ASIDE in path.name

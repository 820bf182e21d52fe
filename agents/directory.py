"""The directory of a worker process: claimed by a lock, so no other process uses it, and named for good."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

NAME_FILE = "worker"
"""Holds the worker's name, and the lock."""
_NAME = re.compile(r"[0-9a-f]{12}")


class WorkerDirectory:
    """A directory that this process has for itself until it ends."""

    def __init__(self, path: Path, name: str, lock: int) -> None:
        self.path = path
        self.name = name
        """Names the worker among all of its app, on this machine and others, and its successors in the directory."""
        self._lock = lock

    def release(self) -> None:
        """Let others claim the directory, as the end of the process does."""
        os.close(self._lock)


def claim(state_dir: Path, app: str, slot: int) -> WorkerDirectory:
    """The directory of a slot. Where another process has it (it may be paused) it is left to it, and a new one used."""
    for attempt in range(100):
        path = state_dir / app / (f"{slot}" if attempt == 0 else f"{slot}~{attempt}")
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / NAME_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            log.warning("state directory is held by another process, using a new one", path=str(path))
            continue
        return WorkerDirectory(path, _name(lock), lock)
    raise AssertionError(f"a hundred directories of slot {slot} are locked")


def _name(lock: int) -> str:
    """The name in the file, or a new one: whoever has the lock is the only one to write."""
    found = os.pread(lock, 12, 0).decode(errors="replace")
    if _NAME.fullmatch(found):
        return found
    name = secrets.token_hex(6)
    os.ftruncate(lock, 0)
    os.pwrite(lock, name.encode(), 0)
    return name

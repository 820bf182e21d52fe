"""The contract of a state store, kept by every implementation, and what becomes of unusable directories."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.agents.tables import Identity, MemoryStore, RocksStore, held_tasks, open_rocks
from headrace.agents.topology import TaskId
from headrace.sql.runtime.records import Store

TASK = TaskId("count-by", 3)
IDENTITY = Identity("app", "plan", str(TASK), "app-count-changelog-3 id")
HOUR_S = 3600.0

MakeStore = Callable[[], Store]


@pytest.fixture(params=["memory", "rocks"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    return MemoryStore if request.param == "memory" else lambda: RocksStore(tmp_path / "store")


# The contract


def test_new_store_is_empty_and_has_no_position(make_store: MakeStore) -> None:
    store = make_store()
    assert store.position is None
    assert store.get(b"a") is None
    assert list(store.scan(b"", b"\xff")) == []


def test_store_has_what_was_applied_last(make_store: MakeStore) -> None:
    store = make_store()
    store.apply([(b"a", b"1"), (b"b", b"2")], 10)
    store.apply([(b"a", b"3"), (b"b", None), (b"c", b""), (b"missing", None)], 14)
    assert store.position == 14
    assert store.get(b"a") == b"3"
    assert store.get(b"b") is None
    assert store.get(b"c") == b""


def test_last_change_of_a_key_in_one_batch_counts(make_store: MakeStore) -> None:
    store = make_store()
    store.apply([(b"a", b"1"), (b"a", None), (b"b", None), (b"b", b"2")], 1)
    assert store.get(b"a") is None
    assert store.get(b"b") == b"2"


def test_scan_yields_a_range_in_byte_order(make_store: MakeStore) -> None:
    store = make_store()
    keys = [b"b\x00", b"b", b"a", b"\x00", b"b\xff", b"c", b"\xff\xff"]
    store.apply([(key, b"v" + key) for key in keys], 1)
    assert [key for key, _ in store.scan(b"b", b"c")] == [b"b", b"b\x00", b"b\xff"]
    assert [key for key, _ in store.scan(b"", b"\xff\xff")] == sorted(keys)[:-1]
    assert list(store.scan(b"c", b"c")) == []
    assert dict(store.scan(b"a", b"b")) == {b"a": b"va"}


def test_applying_nothing_moves_the_position(make_store: MakeStore) -> None:
    store = make_store()
    store.apply((), 5)
    assert store.position == 5
    assert list(store.scan(b"", b"\xff")) == []


# RocksDB directories


def open_store(directory: Path, identity: Identity = IDENTITY, age_s_max: float = HOUR_S) -> RocksStore:
    return open_rocks(directory, TASK, identity, age_s_max)


def fill_and_close(store: RocksStore) -> Path:
    store.apply([(b"a", b"1")], 7)
    store.close()
    return store.path


def test_state_is_there_after_closing(tmp_path: Path) -> None:
    fill_and_close(open_store(tmp_path))
    store = open_store(tmp_path)
    assert (store.position, store.get(b"a")) == (7, b"1")


def test_state_is_there_after_the_process_was_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from headrace.agents.tables import RocksStore\n"
        f"RocksStore(Path({str(tmp_path / 'store')!r})).apply([(b'a', b'1')], 7)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    store = RocksStore(tmp_path / "store")
    assert (store.position, store.get(b"a")) == (7, b"1")


@pytest.mark.parametrize(
    "other", [replace(IDENTITY, plan_version="other"), replace(IDENTITY, app="b"), replace(IDENTITY, changelog="c")]
)
def test_directory_of_something_else_is_kept_aside_and_rebuilt(tmp_path: Path, other: Identity) -> None:
    fill_and_close(open_store(tmp_path, other))
    store = open_store(tmp_path)
    assert store.position is None
    (aside,) = tmp_path.glob(f"{TASK}.aside-*")
    assert RocksStore(aside).get(b"a") == b"1"


def test_corrupted_directory_is_kept_aside_and_rebuilt(tmp_path: Path) -> None:
    path = fill_and_close(open_store(tmp_path))
    (path / "CURRENT").write_text("nonsense\n")
    store = open_store(tmp_path)
    assert store.position is None
    assert len(list(tmp_path.glob(f"{TASK}.aside-*"))) == 1


def test_directory_not_written_for_too_long_is_rebuilt(tmp_path: Path) -> None:
    path = fill_and_close(open_store(tmp_path))
    for file in path.iterdir():
        os.utime(file, (1_000_000_000, 1_000_000_000))
    assert open_store(tmp_path).position is None


def test_directory_held_by_somebody_else_is_left_to_them(tmp_path: Path) -> None:
    held = open_store(tmp_path)
    other = open_store(tmp_path)
    assert other.path != held.path
    other.apply([(b"a", b"other")], 1)
    held.apply([(b"a", b"held")], 1)
    assert (other.get(b"a"), held.get(b"a")) == (b"other", b"held")


def test_held_tasks_are_those_with_usable_directories(tmp_path: Path) -> None:
    assert held_tasks(tmp_path) == set()
    path = fill_and_close(open_store(tmp_path))
    shutil.copytree(path, tmp_path / "count-by-4.aside-1")
    (tmp_path / "faust").mkdir()
    assert held_tasks(tmp_path) == {TASK}

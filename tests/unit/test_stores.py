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

from headrace.agents.errors import StateFailure
from headrace.agents.tables import (
    Identity,
    MemoryStore,
    RestorableStore,
    RocksStore,
    UnusableState,
    block_cache,
    held_tasks,
    open_rocks,
)
from headrace.agents.topology import TaskId

TASK = TaskId("count-by", 3)
IDENTITY = Identity("app", "plan", str(TASK), "app-count-changelog-3 id")
HOUR_S = 3600.0

MakeStore = Callable[[], RestorableStore]


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


def test_entries_are_counted_without_the_position(make_store: MakeStore) -> None:
    store = make_store()
    assert count(store) == 0
    store.apply([(b"a", b"1"), (b"b", b"2"), (b"c", None)], 3)
    store.apply([(b"a", b"3"), (b"b", None)], 5)
    assert count(store) == 1


def test_count_of_many_entries_comes_in_steps(make_store: MakeStore) -> None:
    store = make_store()
    store.apply([(b"%d" % number, b"") for number in range(10_000)], 1)
    *steps, total = store.entries()
    assert total == 10_000
    assert steps == sorted(steps)


def test_what_was_loaded_is_there_afterwards_over_what_was_there_before(make_store: MakeStore) -> None:
    store = make_store()
    store.apply([(b"a", b"1"), (b"b", b"1")], 1)
    with store.loading():
        store.apply([(b"a", b"2"), (b"c", b"2")], 2)
        store.apply([(b"b", None), (b"c", b"3")], 3)
    store.apply([(b"d", b"4")], 4)
    assert list(store.scan(b"", b"\xff")) == [(b"a", b"2"), (b"c", b"3"), (b"d", b"4")]
    assert store.position == 4


def count(store: RestorableStore) -> int:
    *_, total = store.entries()
    return total


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


def test_stores_share_one_block_cache(tmp_path: Path) -> None:
    for name in ("a", "b"):
        store = RocksStore(tmp_path / name)
        with store.loading():  # it writes files, from which alone blocks are cached
            store.apply([(b"%04d" % number, os.urandom(100)) for number in range(1_000)], 1)
        before = block_cache().get_usage()
        assert store.get(b"0500") is not None
        assert block_cache().get_usage() > before
        store.close()


@pytest.mark.parametrize(
    "other", [replace(IDENTITY, plan_version="other"), replace(IDENTITY, app="b"), replace(IDENTITY, changelog="c")]
)
def test_directory_of_something_else_is_kept_aside_and_rebuilt(tmp_path: Path, other: Identity) -> None:
    fill_and_close(open_store(tmp_path, other))
    store = open_store(tmp_path)
    assert store.position is None
    (aside,) = tmp_path.glob(f"{TASK}.aside-*")
    assert RocksStore(aside).get(b"a") == b"1"


def test_directory_not_written_for_too_long_is_rebuilt(tmp_path: Path) -> None:
    path = fill_and_close(open_store(tmp_path))
    for file in path.iterdir():
        os.utime(file, (1_000_000_000, 1_000_000_000))
    assert open_store(tmp_path).position is None


def test_directory_that_is_open_already_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    held = open_store(tmp_path)
    with pytest.raises(StateFailure, match="in use"):
        open_store(tmp_path)
    held.apply([(b"a", b"held")], 1)
    held.close()
    assert open_store(tmp_path).get(b"a") == b"held"


def test_condemned_directory_is_kept_aside_and_rebuilt(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.condemn("it does not add up")
    fill_and_close(store)
    assert open_store(tmp_path).position is None
    (aside,) = tmp_path.glob(f"{TASK}.aside-*")
    assert RocksStore(aside).position == 7


def test_newest_directory_kept_aside_replaces_the_one_before_it_of_this_task_only(tmp_path: Path) -> None:
    shutil.copytree(fill_and_close(open_store(tmp_path)), tmp_path / "count-by-31.aside-1")
    for value in (b"1", b"2"):
        store = open_store(tmp_path)
        store.apply([(b"a", value)], 8)
        store.condemn("again")
        store.close()
    open_store(tmp_path).close()
    (aside,) = tmp_path.glob(f"{TASK}.aside-*")
    assert RocksStore(aside).get(b"a") == b"2"
    assert (tmp_path / "count-by-31.aside-1").exists()


def test_held_tasks_are_those_with_usable_directories(tmp_path: Path) -> None:
    assert held_tasks(tmp_path) == set()
    path = fill_and_close(open_store(tmp_path))
    shutil.copytree(path, tmp_path / "count-by-4.aside-1")
    shutil.copytree(path, tmp_path / "count-by-5.new")
    (tmp_path / "faust").mkdir()
    assert held_tasks(tmp_path) == {TASK}


def test_directory_that_was_not_finished_is_made_anew_without_a_word(tmp_path: Path) -> None:
    (tmp_path / f"{TASK}.new").mkdir()
    (tmp_path / f"{TASK}.new" / "headrace.json").write_text("{")
    assert open_store(tmp_path).position is None
    assert [path.name for path in tmp_path.iterdir()] == [str(TASK)]


# Damage


LOADED = 50_000
LOGGED = 30


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A directory as a killed process leaves it: 50,000 entries in a file, and 30 more, one per write, in the log."""
    store = open_store(tmp_path / "alive")
    with store.loading():
        store.apply([(b"%06d" % number, b"value") for number in range(LOADED)], 0)
    for number in range(LOGGED):
        store.apply([(b"logged %d" % number, b"value")], number + 1)
    shutil.copytree(tmp_path / "alive", tmp_path / "crashed")
    store.close()
    return tmp_path / "crashed"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20] = bytes(byte ^ 0xFF for byte in data[middle : middle + 20])
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("CURRENT", Path.unlink),
        ("CURRENT", lambda path: path.write_text("nonsense\n")),
        ("MANIFEST-*", Path.unlink),
        ("MANIFEST-*", cut),
        ("MANIFEST-*", garble),
        ("*.sst", Path.unlink),
        ("*.sst", cut),
        ("headrace.json", Path.unlink),
    ],
)
def test_directory_that_cannot_be_opened_is_kept_aside_and_rebuilt(
    crashed: Path, pattern: str, damage: Callable[[Path], object]
) -> None:
    for path in (crashed / str(TASK)).glob(pattern):
        damage(path)
    store = open_store(crashed)
    assert (store.position, count(store)) == (None, 0)
    assert len(list(crashed.glob(f"{TASK}.aside-*"))) == 1


def test_damaged_file_is_found_when_it_is_read_and_rebuilt_when_it_is_opened_next(crashed: Path) -> None:
    for path in (crashed / str(TASK)).glob("*.sst"):
        garble(path)
    store = open_store(crashed)
    assert store.position == LOGGED
    for read in (lambda: count(store), lambda: list(store.scan(b"0", b"9")), lambda: [*map(store.get, KEYS)]):
        with pytest.raises(UnusableState, match="damaged"):
            read()
    store.close()
    assert open_store(crashed).position is None


KEYS = [b"%06d" % number for number in range(LOADED)]


@pytest.mark.parametrize("damage", [cut, garble, Path.unlink])
def test_damaged_log_leaves_the_store_as_it_was_at_an_earlier_position(
    crashed: Path, damage: Callable[[Path], object]
) -> None:
    for path in (crashed / str(TASK)).glob("*.log"):
        damage(path)
    store = open_store(crashed)
    assert store.position is not None
    assert 0 <= store.position < LOGGED
    assert count(store) == LOADED + store.position


def test_process_killed_while_it_loads_leaves_everything_up_to_the_position(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from headrace.agents.tables import RocksStore
store = RocksStore(Path({str(tmp_path / "store")!r}))
with store.loading():
    for number in range(300):
        store.apply([(b"%d-%d" % (number, n), os.urandom(500)) for n in range(1_000)], number + 1)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    store = RocksStore(tmp_path / "store")
    assert store.position is not None
    assert 0 < store.position <= 300
    assert count(store) == 1_000 * store.position

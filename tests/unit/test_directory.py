"""The directory of a worker process: one process at a time, whatever state that process is in."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.agents.directory import claim

CLAIM = """
import sys
from pathlib import Path
from headrace.agents.directory import claim
directory = claim(Path(sys.argv[1]), "app", 0)
print(directory.path.name, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has claimed slot 0."""
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        yield process
        process.kill()


def test_directory_is_of_the_app_and_the_slot(tmp_path: Path) -> None:
    assert claim(tmp_path, "app", 3).path == tmp_path / "app" / "3"


def test_name_stays_with_the_directory(tmp_path: Path) -> None:
    first = claim(tmp_path, "app", 0)
    first.release()
    assert claim(tmp_path, "app", 0).name == first.name


def test_every_directory_has_a_name_of_its_own(tmp_path: Path) -> None:
    names = {claim(tmp_path / place, "app", slot).name for place in ("here", "there") for slot in range(3)}
    assert len(names) == 6
    assert all(len(name) == 12 for name in names)


def test_name_that_was_not_finished_is_replaced(tmp_path: Path) -> None:
    first = claim(tmp_path, "app", 0)
    first.release()
    (first.path / "worker").write_text(first.name[:5])
    again = claim(tmp_path, "app", 0)
    assert again.name[:5] != first.name[:5]
    again.release()
    assert claim(tmp_path, "app", 0).name == again.name


def test_directory_of_a_paused_process_is_left_to_it(tmp_path: Path, other_process: subprocess.Popen[str]) -> None:
    other_process.send_signal(signal.SIGSTOP)
    second = claim(tmp_path, "app", 0)
    third = claim(tmp_path, "app", 0)
    assert [second.path.name, third.path.name] == ["0~1", "0~2"]


def test_directory_of_a_killed_process_is_claimed_again(tmp_path: Path, other_process: subprocess.Popen[str]) -> None:
    other_process.kill()
    other_process.wait()
    assert claim(tmp_path, "app", 0).path.name == "0"


def test_directory_that_was_deleted_is_made_anew_while_its_process_lives(tmp_path: Path) -> None:
    first = claim(tmp_path, "app", 0)
    (first.path / "worker").unlink()
    first.path.rmdir()
    second = claim(tmp_path, "app", 0)
    assert second.path == first.path
    assert second.name != first.name

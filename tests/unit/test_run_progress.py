"""The bar of restores, as a terminal has it: fed with the log of real restores in both forms."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
import structlog
from rich.console import Console
from rich.progress import Progress

from headrace.agents import changelog
from headrace.agents.changelog import RestoreProgress
from headrace.app.logging import configure_logging
from headrace.app.run_progress import Restores
from headrace.app.settings import LogFormat, LogLevel
from headrace.sql.runtime.records import TopicPartition

Say = Callable[[], bytes]


@pytest.fixture(params=list(LogFormat))
def said(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Say]:
    """Takes what was logged since it was last asked."""
    stream = io.StringIO()
    configure_logging(request.param, LogLevel.INFO, stream)
    monkeypatch.setattr(changelog, "PROGRESS_S", 0.0)

    def take() -> bytes:
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        return text.encode()

    yield take
    structlog.reset_defaults()


@pytest.fixture
def bar() -> Iterator[Progress]:
    with Progress(console=Console(file=io.StringIO(), force_terminal=True)) as bar:
        bar.add_task("restored records", total=None)
        yield bar


def shown(bar: Progress) -> tuple[float, float | None] | None:
    (task,) = bar.tasks
    assert task.visible == bar.live.is_started
    return (task.completed, task.total) if task.visible else None


def restore_of(partition: int, records: int) -> RestoreProgress:
    progress = RestoreProgress(TopicPartition("app-count-changelog", partition))
    progress.begin(records)
    return progress


def test_bar_is_the_sum_of_all_restores_that_run(said: Say, bar: Progress) -> None:
    restores = Restores(bar, bar.task_ids[0])
    assert shown(bar) is None
    first, second = restore_of(0, 1_000), restore_of(1, 500)
    first.add(100, 900)
    restores.read(said())
    assert shown(bar) == (100, 1_000)
    first.add(100, 800)
    second.add(50, 450)
    restores.read(said())
    assert shown(bar) == (250, 1_500)


def test_bar_goes_with_the_last_restore(said: Say, bar: Progress) -> None:
    restores = Restores(bar, bar.task_ids[0])
    first, second = restore_of(0, 1_000), restore_of(1, 500)
    first.add(100, 900)
    second.add(50, 450)
    first.finish(100)
    restores.read(said())
    assert shown(bar) == (50, 500)
    second.cancel()
    restores.read(said())
    assert shown(bar) is None


def test_short_restores_are_not_shown(said: Say, bar: Progress) -> None:
    restores = Restores(bar, bar.task_ids[0])
    restore_of(0, 10).finish(10)
    restores.read(said())
    assert shown(bar) is None


def test_line_in_two_pieces_is_one_line(said: Say, bar: Progress) -> None:
    restores = Restores(bar, bar.task_ids[0])
    restore_of(0, 1_000).add(100, 900)
    line = said()
    for piece in (line[:60], line[60:]):
        restores.read(piece)
    assert shown(bar) == (100, 1_000)


def test_bar_of_records_stays_when_the_last_restore_ends(said: Say, bar: Progress) -> None:
    restores = Restores(bar, bar.task_ids[0])
    bar.add_task("committed records", total=10)
    progress = restore_of(0, 1_000)
    progress.add(100, 900)
    progress.finish(100)
    restores.read(said())
    assert [task.visible for task in bar.tasks] == [False, True]
    assert bar.live.is_started

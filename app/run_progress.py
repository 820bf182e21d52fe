"""How far a run has come, as bars on a terminal: its restores, and its records where it is a finite one."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.text import Text

from headrace.app.clients import consumer
from headrace.app.output import progress
from headrace.app.settings import Settings
from headrace.app.supervisor import to_stderr
from headrace.sql.runtime.records import TopicPartition

ASK_SECONDS = 0.5
ANSWER_SECONDS = 5.0

_FIELD = re.compile(rb'\b(changelog|records|left)"?[=:] ?"?([^\s",}]+)')
"""A field of a log line, in either form of the log."""
_ENDS = (b"state restored", b"restore cancelled")


@contextmanager
def shown_progress(
    settings: Settings, group: str, ends: Mapping[TopicPartition, int] | None
) -> Iterator[Callable[[bytes], None]]:
    """Shows the bars while inside; yields how the workers' stderr is to be written meanwhile. An endless run has no
    `ends`.
    """
    if not Console(stderr=True).is_terminal:
        yield to_stderr
        return
    with progress("restored records") as bar:
        restores = Restores(bar, bar.task_ids[0])

        def forward(output: bytes) -> None:
            if bar.live.is_started:
                bar.console.print(Text.from_ansi(output.decode(errors="replace").rstrip("\n")), soft_wrap=True)
            else:
                to_stderr(output)
            restores.read(output)

        with _followed(settings, group, ends, bar) if ends is not None else nullcontext():
            yield forward


class Restores:
    """The bar of all restores that run at the moment, as the workers' log tells of those that take long."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._cut_off = b""
        self._running: dict[bytes, tuple[int, int]] = {}
        """Records restored and left, by changelog."""
        self._show()

    def read(self, output: bytes) -> None:
        """Take note of more of the log."""
        *lines, self._cut_off = (self._cut_off + output).split(b"\n")
        for line in lines:
            if b"restoring state" in line:
                fields = dict(_FIELD.findall(line))
                self._running[fields[b"changelog"]] = int(fields[b"records"]), int(fields[b"left"])
            elif any(end in line for end in _ENDS):
                self._running.pop(dict(_FIELD.findall(line))[b"changelog"], None)
        self._show()

    def _show(self) -> None:
        restored = sum(records for records, _ in self._running.values())
        total = restored + sum(left for _, left in self._running.values())
        self._bar.update(self._task, completed=restored, total=total, visible=bool(self._running))
        # Where there is nothing to show, nothing is drawn again and again.
        if any(task.visible for task in self._bar.tasks):
            self._bar.start()
        else:
            self._bar.stop()


@contextmanager
def _followed(settings: Settings, group: str, ends: Mapping[TopicPartition, int], bar: Progress) -> Iterator[None]:
    """Shows the committed against the end offsets of the sources."""
    done = threading.Event()
    task = bar.add_task("committed records", total=sum(ends.values()))
    bar.start()
    asking = threading.Thread(target=_follow, args=(settings, group, ends, bar, task, done), daemon=True)
    asking.start()
    try:
        yield
    finally:
        done.set()
        asking.join()


def _follow(
    settings: Settings,
    group: str,
    ends: Mapping[TopicPartition, int],
    bar: Progress,
    task: TaskID,
    done: threading.Event,
) -> None:
    """Asks as a consumer that never joins the group."""
    client = consumer(settings, {"group.id": group, "enable.auto.commit": False})
    wanted = [KafkaPartition(*partition) for partition in ends]
    while not done.wait(ASK_SECONDS):
        try:
            committed = client.committed(wanted, timeout=ANSWER_SECONDS)
        except KafkaException:
            continue  # the workers tell of it, and decide what becomes of the run
        bar.update(task, completed=sum(max(partition.offset, 0) for partition in committed))
    client.close()

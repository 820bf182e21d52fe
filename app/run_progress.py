"""How far a finite run has come: committed against end offsets of the sources, as a bar on a terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from headrace.app.clients import consumer
from headrace.app.output import progress
from headrace.app.settings import Settings
from headrace.app.supervisor import to_stderr
from headrace.sql.runtime.records import TopicPartition

ASK_SECONDS = 0.5
ANSWER_SECONDS = 5.0


@contextmanager
def shown_progress(
    settings: Settings, group: str, ends: Mapping[TopicPartition, int]
) -> Iterator[Callable[[bytes], None]]:
    """Shows the bar while inside; yields how the workers' stderr is to be written meanwhile."""
    if not Console(stderr=True).is_terminal:
        yield to_stderr
        return
    done = threading.Event()
    with progress("committed records") as bar:
        bar.update(bar.task_ids[0], total=sum(ends.values()), completed=0)
        asking = threading.Thread(target=_follow, args=(settings, group, ends, bar, done), daemon=True)
        asking.start()
        try:
            yield lambda output: bar.console.print(Text.from_ansi(output.decode(errors="replace").rstrip("\n")))
        finally:
            done.set()
            asking.join()


def _follow(
    settings: Settings, group: str, ends: Mapping[TopicPartition, int], bar: Progress, done: threading.Event
) -> None:
    """Asks as a consumer that never joins the group."""
    client = consumer(settings, {"group.id": group, "enable.auto.commit": False})
    wanted = [KafkaPartition(*partition) for partition in ends]
    while not done.wait(ASK_SECONDS):
        try:
            committed = client.committed(wanted, timeout=ANSWER_SECONDS)
        except KafkaException:
            continue  # the workers tell of it, and decide what becomes of the run
        bar.update(bar.task_ids[0], completed=sum(max(partition.offset, 0) for partition in committed))
    client.close()

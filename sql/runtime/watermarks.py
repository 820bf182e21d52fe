"""Watermarks: how far event time has come, per sender, and for a task the minimum over all senders that feed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

START = -(2**63)
"""Nothing is known yet: −∞."""
END = 2**63 - 1
"""Nothing comes any more: +∞, the end of a finite run."""


def earlier(watermark: int, by_ms: int) -> int:
    """The watermark less a time; the infinities stay what they are."""
    return watermark if watermark in (START, END) else watermark - by_ms


class Watermarks:
    """The watermark of each sender of a task's rows, and which senders are idle.

    A sender is a source partition, or a task of the stage that writes the repartition topic. An idle one does not hold
    back the others. One that comes later, because the source got more partitions, holds nobody back before it speaks.
    Peers are the partitions of the same source that other tasks read: while all senders are idle, they count in their
    place. No watermark ever goes back.
    """

    __slots__ = ("_current", "_endless", "_idle", "_peers", "_table")

    def __init__(self, senders: tuple[int, ...], peers: tuple[int, ...] = (), *, endless: bool = True) -> None:
        """In a finite run nothing is idle: every sender comes to its end."""
        self._table = dict.fromkeys(senders, START)
        self._peers = dict.fromkeys(peers, START)
        self._endless = endless
        self._idle: set[int] = set()
        self._current = START

    def update(self, sender: int, watermark: int, *, idle: bool) -> None:
        """What a sender or a peer says: nothing with an earlier event time comes from it any more."""
        table = self._peers if sender in self._peers else self._table
        table[sender] = max(table.get(sender, START), watermark)
        if idle and self._endless:
            self._idle.add(sender)
        else:
            self._idle.discard(sender)

    def of(self, sender: int) -> int:
        return self._table[sender]

    def is_idle(self, sender: int) -> bool:
        return sender in self._idle

    def current(self) -> int:
        """The minimum over the senders that are not idle, else over such peers; the largest known where all are."""
        holding = self._holding(self._table) or self._holding(self._peers)
        watermark = min(holding) if holding else max(*self._table.values(), *self._peers.values(), START)
        self._current = max(self._current, watermark)
        return self._current

    def _holding(self, table: Mapping[int, int]) -> list[int]:
        return [watermark for sender, watermark in table.items() if sender not in self._idle]

    @property
    def ended(self) -> bool:
        """Every sender has said that nothing comes any more."""
        return all(watermark == END for watermark in self._table.values())

    def snapshot(self) -> list[tuple[int, int, bool]]:
        """(sender, watermark, idle), for the checkpoint."""
        return [(sender, watermark, sender in self._idle) for sender, watermark in self._table.items()]

    def restore(self, snapshot: list[tuple[int, int, bool]], current: int) -> None:
        """What a checkpoint holds, and how far the task had come, which idle senders may have let it.

        Senders that the checkpoint does not know have come since: they are idle until they say something.
        """
        for sender in self._table.keys() - {sender for sender, _, _ in snapshot}:
            self.update(sender, START, idle=True)
        for sender, watermark, idle in snapshot:
            self.update(sender, watermark, idle=idle)
        self._current = max(self._current, current)


def newest_before(times: Sequence[int], ordered: Sequence[int], newest: int) -> Sequence[int]:
    """For each row the largest event time read before it; `newest` is that before the first.

    `ordered` are the same times, ascending.
    """
    if not times:
        return ()
    if newest <= times[0] and ordered == times:
        return [newest, *times[:-1]]
    before: list[int] = []
    append = before.append
    for time in times:  # itertools.accumulate with max takes five times as long
        append(newest)
        if time > newest:
            newest = time
    return before

"""State of windowed aggregations in a task: the groups of each open window, and partial aggregates on their way."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.sql.runtime.records import Change, Store
from headrace.sql.runtime.state import Groups, Key, State, StateCodec, following, ordered_bytes, released
from headrace.sql.runtime.watermarks import START

if TYPE_CHECKING:
    from headrace.sql.runtime.holding import HeldRows

REREAD_MAX = 500_000
"""Work that a restart may do again: blocks of a repartition topic, and their rows once for each of their windows. So no
more groups than these are held in memory because they are not stored."""


class Opening(NamedTuple):
    """Where the first row of a window came from."""

    offset: int
    work: int
    """What had come before, in terms of `REREAD_MAX`."""


class WindowedState:
    """State of a windowed aggregation: the groups of each open window, by the window's end.

    Where its rows come from a repartition topic, which keeps them for as long as they are needed, and nothing is
    emitted before a window closes, windows are made anew after a restart from the rows that are read again. Only those
    that stay open for too long are written to the store: all of the window at once, then what changes.
    """

    def __init__(
        self,
        codec: StateCodec,
        store: Store | None,
        number: int,
        live: int,
        held: HeldRows | None = None,
        *,
        reread: int = 0,
    ) -> None:
        """`reread` is in how many windows a row is that can be read again; 0 where none can."""
        self.panes: dict[int, Groups] = {}
        self.changed: dict[int, Groups] = {}
        """The windows that were opened since the last cut."""
        self.closed_until = START
        """Windows that end at or before this are closed: what comes for them comes too late."""
        self.held = held
        self.reread = reread
        self.again = False
        """The rows that come were read before the last cut."""
        self._unwritten: OrderedDict[int, Opening] = OrderedDict()  # windows that no cut has written, as they opened
        self._reading = Opening(0, 0)  # the block whose rows come
        self._work = 0
        self._live = live - (held.live if held is not None else 0)
        self._ends: list[int] = []  # a heap of the open windows
        self._codec = codec
        self._store = store
        self._number = bytes([number])
        self._closed: list[Change] = []
        self._clean: OrderedDict[int, int] = OrderedDict()  # clean bytes of a window at its last cut, in that order
        self._clean_bytes = 0
        if live and store is not None:
            self._reopen(store)

    def _reopen(self, store: Store) -> None:
        counts: dict[int, int] = {}
        for key, _ in store.scan(self._number, following(self._number)):
            end = int.from_bytes(key[1:9], "big") - 2**63
            counts[end] = counts.get(end, 0) + 1
        for end, count in counts.items():
            self._add(end, stored=True).live = count

    def _add(self, end: int, *, stored: bool) -> Groups:
        pane = self.panes[end] = Groups(self._codec, self._store, self._number + ordered_bytes(end), stored=stored)
        heappush(self._ends, end)
        return pane

    def read(self, offset: int, rows: int, *, again: bool) -> None:
        """The rows of a block come, `again` after a restart: what is closed or in the store knows them already."""
        self._reading = Opening(offset, self._work)
        self._work += rows * self.reread + 1
        self.again = again

    @property
    def needed(self) -> int | None:
        """Offset from which the open windows need their rows after a restart; None where they need none."""
        return next((opening.offset for opening in self._unwritten.values()), None)

    def open(self, end: int) -> Groups:
        """The groups of the window that ends at `end`, opened where it is new."""
        pane = self.panes.get(end)
        if pane is None:
            pane = self._add(end, stored=False)
            if self.reread:
                self._unwritten[end] = self._reading
        elif self.again and end not in self._unwritten:
            return Groups(self._codec, None, b"", stored=False)  # to be forgotten
        self.changed[end] = pane
        return pane

    def open_each(self, ends: range) -> list[tuple[int, Callable[[Key], State | None], Callable[[Key], State], Any]]:
        """For each window: its end, and of its groups the cache's `get`, `load` and `dirty`."""
        panes = [(end, self.open(end)) for end in ends]
        return [(end, pane.cache.get, pane.load, pane.dirty) for end, pane in panes]

    def close(self, until: int) -> Iterator[tuple[int, Groups]]:
        """Windows that end at or before `until`, in order; the state of each is freed when the next is asked for."""
        self.closed_until = max(self.closed_until, until)
        while self._ends and self._ends[0] <= until:
            end = self._ends[0]
            pane = self.panes[end]
            yield end, pane
            self._closed.extend(pane.tombstones())
            self._live -= pane.live
            heappop(self._ends)
            del self.panes[end]
            self.changed.pop(end, None)
            self._unwritten.pop(end, None)
            self._clean_bytes -= self._clean.pop(end, 0)

    def due(self, until: int) -> Iterator[tuple[int, Key, State]]:
        """The groups whose held rows are due (EMIT EVERY), each with the end of its window."""
        assert self.held is not None
        for end, key in self.held.due(until):
            yield end, key, released(self.open(end), key)

    def withheld(self, end: int, pane: Groups) -> Iterator[tuple[Key, State]]:
        """The groups of a closing window whose rows are still held."""
        assert self.held is not None
        for key, state in pane.load_all():
            if state.held is not None:
                self.held.drop((end, key), state)
                yield key, state

    @property
    def live(self) -> int:
        """Entries that the store holds after the last cut."""
        return self._live + (self.held.live if self.held is not None else 0)

    @property
    def pending(self) -> int:
        written = (pane for end, pane in self.changed.items() if end not in self._unwritten)
        return len(self._closed) + sum(pane.pending for pane in written)

    @property
    def caches(self) -> Collection[WindowedState]:
        return (self,)

    @property
    def clean_bytes(self) -> int:
        """Memory of the cached groups of all windows that had not changed at their windows' last cuts, by estimate."""
        return self._clean_bytes

    def evict(self, size: int) -> None:
        """Forget clean groups of so many bytes, first those of windows whose last cut is the longest ago.

        Only between the end of a commit and the next cut, when the store has everything that was cut.
        """
        while size > 0 and self._clean:
            end, noted = self._clean.popitem(last=False)
            pane = self.panes[end]
            clean = pane.clean_bytes
            if clean:
                pane.evict(min(size, clean))
            left = pane.clean_bytes
            size -= clean - left
            self._clean_bytes += left - noted
            if left:
                self._clean[end] = left
                self._clean.move_to_end(end, last=False)

    def cut(self) -> Iterator[Change]:
        closed, self._closed = self._closed, []
        yield from closed
        self._bound_rereading()
        for end, pane in self.changed.items():
            if end in self._unwritten:
                continue
            before = pane.live
            yield from pane.cut()
            self._live += pane.live - before
            self._note_clean(end, pane.clean_bytes)
        self.changed = {}
        if self.held is not None:
            yield from self.held.cut()

    def _note_clean(self, end: int, size: int) -> None:
        self._clean_bytes += size - self._clean.pop(end, 0)
        self._clean[end] = size

    def _bound_rereading(self) -> None:
        """Have the oldest windows written, where a restart would have too much to read again."""
        while self._unwritten and self._work - next(iter(self._unwritten.values())).work > REREAD_MAX:
            end, _ = self._unwritten.popitem(last=False)
            self.changed[end] = self.panes[end]


class PartialWindows:
    """Partial aggregates of a windowed aggregation until they are sent on, by what says which windows they are for."""

    def __init__(self, codec: StateCodec) -> None:
        self._codec = codec
        self._panes: dict[Any, Groups] = {}

    def open(self, windows: Any) -> Groups:
        pane = self._panes.get(windows)
        if pane is None:
            pane = self._panes[windows] = Groups(self._codec, None, b"", stored=False)
        return pane

    def drain(self) -> list[tuple[Any, list[tuple[Key, State]]]]:
        """All groups of all windows, which are forgotten."""
        drained = [(windows, pane.drain()) for windows, pane in self._panes.items()]
        self._panes.clear()
        return drained

    live = 0
    caches: Collection[Groups] = ()

    @property
    def pending(self) -> int:
        return sum(pane.pending for pane in self._panes.values())

    def cut(self) -> Iterator[Change]:
        return iter(())

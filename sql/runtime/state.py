"""State of grouped queries in a task: accumulators by group (and window), cached, marked dirty, loaded on a miss.

Keys of the store: the number of the aggregation (1 byte), then for windows the window's end (8 bytes, ordered), then
the encoded grouping key. So the windows of an aggregation lie in the store in the order in which they close.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from headrace.sql.runtime.records import Change, Store
from headrace.sql.runtime.watermarks import START

Key = Any
"""A grouping key in memory: the value of a single column, else the tuple of the columns' values."""
State = Any
"""The accumulators of one group: a generated Struct."""


class StateCodec(Protocol):
    """Bytes of grouping keys and of accumulators; generated for each aggregation."""

    def new(self) -> State: ...
    def encode_key(self, key: Key) -> bytes: ...
    def decode_key(self, data: bytes) -> Key: ...
    def encode(self, state: State) -> bytes: ...
    def decode(self, data: bytes) -> State: ...


def ordered_bytes(number: int) -> bytes:
    """8 bytes that sort as the signed number does."""
    return (number + 2**63).to_bytes(8, "big")


def following(prefix: bytes) -> bytes:
    """The first key after all that start with the prefix."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1])


def in_key_order(keys: list[Key]) -> list[Key]:
    """Keys sorted by value, NULLs last."""
    try:
        return sorted(keys)
    except TypeError:
        return sorted(keys, key=_nulls_last)


def _nulls_last(key: Key) -> list[tuple[bool, Any]]:
    parts = key if isinstance(key, tuple) else (key,)
    return [(part is None, 0 if part is None else part) for part in parts]


class Groups:
    """The groups of an aggregation (of one window, where it has windows).

    Generated code reads `cache`, calls `load` on a miss and puts every state it changed into `dirty`.
    """

    __slots__ = ("_codec", "_fresh", "_prefix", "_store", "_stored", "cache", "dirty", "live")

    def __init__(self, codec: StateCodec, store: Store | None, prefix: bytes, *, stored: bool) -> None:
        self.cache: dict[Key, State] = {}
        self.dirty: dict[Key, State] = {}
        self.live = 0
        """Groups that the store holds after the last cut."""
        self._fresh: set[Key] = set()  # groups that no cut has written yet
        self._codec = codec
        self._store = store
        self._prefix = prefix
        self._stored = stored  # whether the store may hold groups that are not in the cache

    def load(self, key: Key) -> State:
        """The state of a group that is not in the cache: from the store, or new."""
        state: State | None = None
        if self._stored and self._store is not None:
            data = self._store.get(self._prefix + self._codec.encode_key(key))
            if data is not None:
                state = self._codec.decode(data)
        if state is None:
            state = self._codec.new()
            self._fresh.add(key)
        self.cache[key] = state
        return state

    def adopt(self, key: Key, state: State) -> State | None:
        """Take a partial aggregate as the state of a group that has none yet; else return the group's state."""
        if self._stored:
            found = self.load(key)
            if key not in self._fresh:
                return found
        self.cache[key] = state
        self._fresh.add(key)
        return None

    def cut(self) -> Iterator[Change]:
        """Changes of the store since the last cut. Afterwards nothing is dirty."""
        encode_key, encode, prefix = self._codec.encode_key, self._codec.encode, self._prefix
        for key, state in self.dirty.items():
            yield prefix + encode_key(key), encode(state)
        self.live += len(self._fresh)
        self._fresh.clear()
        self.dirty.clear()

    def take_dirty(self) -> list[tuple[Key, State]]:
        """Groups changed since the last cut (for `changes = 'latest'`); they stay dirty."""
        return list(self.dirty.items())

    def drain(self) -> list[tuple[Key, State]]:
        """All groups, which are forgotten (partial aggregates, sent on)."""
        drained = list(self.cache.items())
        self.cache.clear()
        self.dirty.clear()
        self._fresh.clear()
        return drained

    def load_all(self) -> list[tuple[Key, State]]:
        """Every group, in key order."""
        self._load_stored()
        return [(key, self.cache[key]) for key in in_key_order(list(self.cache))]

    def _load_stored(self) -> None:
        if self._stored and self._store is not None:
            decode_key, decode, start = self._codec.decode_key, self._codec.decode, len(self._prefix)
            for data, value in self._store.scan(self._prefix, following(self._prefix)):
                key = decode_key(data[start:])
                if key not in self.cache:
                    self.cache[key] = decode(value)
            self._stored = False

    def tombstones(self) -> Iterator[Change]:
        """Deletions of every group that a cut has written."""
        prefix, encode_key, fresh = self._prefix, self._codec.encode_key, self._fresh
        self._load_stored()
        for key in self.cache:
            if key not in fresh:
                yield prefix + encode_key(key), None


class GroupedState:
    """State of an aggregation without windows."""

    def __init__(self, codec: StateCodec, store: Store | None, number: int, live: int) -> None:
        self.groups = Groups(codec, store, bytes([number]), stored=live > 0)
        self.groups.live = live

    @property
    def live(self) -> int:
        return self.groups.live

    @property
    def pending(self) -> int:
        return len(self.groups.dirty)

    def cut(self) -> Iterator[Change]:
        return self.groups.cut()


class WindowedState:
    """State of a windowed aggregation: the groups of each open window, by the window's end."""

    def __init__(self, codec: StateCodec, store: Store | None, number: int, live: int) -> None:
        self.panes: dict[int, Groups] = {}
        self.closed_until = START
        """Windows that end at or before this are closed: what comes for them comes too late."""
        self._codec = codec
        self._store = store
        self._number = bytes([number])
        self._closed: list[Change] = []
        if live and store is not None:
            self._reopen(store)

    def _reopen(self, store: Store) -> None:
        counts: dict[int, int] = {}
        for key, _ in store.scan(self._number, following(self._number)):
            end = int.from_bytes(key[1:9], "big") - 2**63
            counts[end] = counts.get(end, 0) + 1
        for end, live in counts.items():
            pane = self.panes[end] = Groups(self._codec, store, self._number + ordered_bytes(end), stored=True)
            pane.live = live

    def open(self, end: int) -> Groups:
        """The groups of the window that ends at `end`, opened where it is new."""
        pane = self.panes.get(end)
        if pane is None:
            pane = self.panes[end] = Groups(self._codec, self._store, self._number + ordered_bytes(end), stored=False)
        return pane

    def close(self, until: int) -> Iterator[tuple[int, Groups]]:
        """Windows that end at or before `until`, in order; the state of each is freed when the next is asked for."""
        self.closed_until = max(self.closed_until, until)
        for end in sorted(end for end in self.panes if end <= until):
            pane = self.panes[end]
            yield end, pane
            self._closed.extend(pane.tombstones())
            del self.panes[end]

    def drain(self) -> list[tuple[int, list[tuple[Key, State]]]]:
        """All groups of all windows, which are forgotten (partial aggregates, sent on)."""
        drained = [(end, pane.drain()) for end, pane in self.panes.items()]
        self.panes.clear()
        return drained

    @property
    def live(self) -> int:
        return sum(pane.live for pane in self.panes.values())

    @property
    def pending(self) -> int:
        return len(self._closed) + sum(len(pane.dirty) for pane in self.panes.values())

    def cut(self) -> Iterator[Change]:
        closed, self._closed = self._closed, []
        yield from closed
        for pane in self.panes.values():
            yield from pane.cut()


AggregationState = GroupedState | WindowedState

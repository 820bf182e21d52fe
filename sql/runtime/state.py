"""State of grouped queries in a task: accumulators by group (and window), cached, marked dirty, loaded on a miss.

Keys of the store: the number of the aggregation (1 byte), then for windows the window's end (8 bytes, ordered), then
the encoded grouping key. So the windows of an aggregation lie in the store in the order in which they close.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain, islice
from math import ceil
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from headrace.sql.runtime.records import Change, Store

if TYPE_CHECKING:
    from headrace.sql.runtime.holding import HeldRows

Key = Any
"""A grouping key in memory: the value of a single column, else the tuple of the columns' values."""
State = Any
"""The accumulators of one group: a generated Struct."""

SLOT_BYTES = 56
"""What a dict takes for an entry, when it is neither just grown nor full."""
MEASURED = 64
"""One in so many of the groups that a cut writes is measured: enough for a mean, and cheap."""


class StateCodec(Protocol):
    """Bytes of grouping keys and of accumulators; generated for each aggregation."""

    def new(self) -> State: ...
    def renew(self, state: State) -> State:
        """A state for the group to begin anew with: empty, but it knows which of its rows are out."""

    def encode_key(self, key: Key) -> bytes: ...
    def decode_key(self, data: bytes) -> Key: ...
    def encode(self, state: State) -> bytes: ...
    def decode(self, data: bytes) -> State: ...


def timers_prefix(number: int) -> bytes:
    """What keys of the timers of an aggregation begin with: no group's key does."""
    return bytes([0x80 | number])


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
    return [(part is None, 0 if part is None else _comparable(part)) for part in parts]


def _comparable(part: Any) -> Any:
    """What an ARRAY or a STRUCT is ordered by: its parts."""
    if isinstance(part, msgspec.Struct):
        part = msgspec.structs.astuple(part)
    return _nulls_last(part) if isinstance(part, tuple) else part


def memory_of(value: Any) -> int:
    """Bytes that a grouping key or a state takes in memory, with all that it refers to."""
    own = getsizeof(value)
    if isinstance(value, msgspec.Struct):
        return own + sum(map(memory_of, msgspec.structs.astuple(value)))
    if isinstance(value, dict):
        return own + sum(map(memory_of, value)) + sum(map(memory_of, value.values()))
    return own + sum(map(memory_of, value)) if isinstance(value, (tuple, set, list)) else own


class Groups:
    """The groups of an aggregation (of one window, where it has windows).

    Generated code reads `cache`, calls `load` on a miss and puts every state it changed into `dirty`. A group that is
    not dirty and whose last cut is in the store may be evicted: it is loaded again.
    """

    __slots__ = (
        *("_bytes", "_codec", "_cut", "_deleted", "_fresh", "_prefix", "_store", "_stored", "_unapplied"),
        *("cache", "dirty", "live"),
    )

    def __init__(self, codec: StateCodec, store: Store | None, prefix: bytes, *, stored: bool) -> None:
        self.cache: dict[Key, State] = {}
        self.dirty: dict[Key, State] = {}
        self.live = 0
        """Groups that the store holds after the last cut."""
        self._fresh: set[Key] = set()  # groups that no cut has written yet
        self._deleted: dict[Key, None] = {}  # groups that the next cut deletes from the store, in order
        self._unapplied: dict[Key, None] = {}  # groups that the last cut deleted: the store may not know it yet
        self._cut: dict[Key, State] = {}  # what the last cut wrote
        self._bytes = 0.0  # mean memory of a group
        self._codec = codec
        self._store = store
        self._prefix = prefix
        self._stored = stored  # whether the store may hold groups that are not in the cache

    def load(self, key: Key) -> State:
        """The state of a group that is not in the cache: from the store, or new."""
        state: State | None = None
        if key in self._deleted:
            del self._deleted[key]  # the next cut writes over what the store has
            state = self._codec.new()
        elif self._stored and self._store is not None and key not in self._unapplied:
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

    def renew(self, key: Key) -> State:
        """Begin a cached group anew: nothing of what it holds counts any more."""
        state = self.cache[key] = self._codec.renew(self.cache[key])
        return state

    def delete(self, key: Key) -> None:
        """Forget a group; the next cut deletes it from the store."""
        self.cache.pop(key, None)
        self.dirty.pop(key, None)
        if key in self._fresh:
            self._fresh.remove(key)
        else:
            self._deleted[key] = None

    @property
    def pending(self) -> int:
        """Changes for the next cut; of partial aggregates, those that it sends on."""
        return len(self.cache) if self._store is None else len(self.dirty) + len(self._deleted)

    def cut(self) -> Iterator[Change]:
        """Changes of the store since the last cut. Afterwards nothing is dirty."""
        encode_key, encode, prefix = self._codec.encode_key, self._codec.encode, self._prefix
        for key in self._deleted:
            yield prefix + encode_key(key), None
        for key, state in self.dirty.items():
            yield prefix + encode_key(key), encode(state)
        self._measure()
        self.live += len(self._fresh) - len(self._deleted)
        self._fresh.clear()
        self._unapplied, self._deleted = self._deleted, {}
        self._cut, self.dirty = self.dirty, {}

    def _measure(self) -> None:
        for key, state in islice(self.dirty.items(), 0, None, MEASURED):
            size = memory_of(key) + memory_of(state)
            self._bytes += (size - self._bytes) / 16 if self._bytes else size

    @property
    def clean_bytes(self) -> int:
        """Memory of the cached groups that have not changed since the last cut, by estimate.

        Partial aggregates, which are stored nowhere, must not be evicted.
        """
        if self._store is None:
            return 0
        return int((len(self.cache) - len(self.dirty)) * (SLOT_BYTES + self._bytes))

    def evict(self, size: int) -> None:
        """Forget clean groups that take so many bytes, first those whose last change is the longest ago.

        Only between the end of a commit and the next cut, when the store has everything that was cut.
        """
        cache, dirty = self.cache, self.dirty
        for key in self._cut:
            if key in cache:
                cache[key] = cache.pop(key)
        self._cut = {}
        clean = (key for key in cache if key not in dirty)
        for key in list(islice(clean, ceil(size / (SLOT_BYTES + self._bytes)))):
            del cache[key]
        self._stored = True

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

    def load_all(self) -> Iterator[tuple[Key, State]]:
        """Every group, in key order; those that are not in the cache are decoded one at a time."""
        cache, decode = self.cache, self._codec.decode
        stored = {key: data for key, data in map(self._uncached, self._scan()) if data is not None}
        for key in in_key_order([*cache, *stored]):
            yield key, cache[key] if key in cache else decode(stored[key])

    def stored(self, position: bytes, most: int) -> tuple[list[tuple[Key, State]], bytes | None]:
        """Groups that are in the store alone, out of the next entries from a position on (at first empty), and the
        position behind them; None at the end.
        """
        entries = list(islice(self._scan(position), most))
        behind = entries[-1][0] + b"\0" if len(entries) == most else None
        found = ((key, data) for key, data in map(self._uncached, entries) if data is not None)
        return [(key, self._codec.decode(data)) for key, data in found], behind

    def _scan(self, position: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Entries of the store, where it may hold groups that are not in the cache."""
        if self._stored and self._store is not None:
            yield from self._store.scan(max(position, self._prefix), following(self._prefix))

    def _uncached(self, entry: tuple[bytes, bytes]) -> tuple[Key, bytes | None]:
        """The group of an entry, and its state where only the store has it."""
        data, value = entry
        key = self._codec.decode_key(data[len(self._prefix) :])
        is_outdated = key in self.cache or key in self._deleted or key in self._unapplied
        return key, None if is_outdated else value

    def tombstones(self) -> Iterator[Change]:
        """Deletions of every group that a cut has written."""
        prefix, encode_key, fresh = self._prefix, self._codec.encode_key, self._fresh
        cached = (prefix + encode_key(key) for key in self.cache if key not in fresh)
        for data in dict.fromkeys(chain(cached, (data for data, _ in self._scan()))):
            yield data, None


class GroupedState:
    """State of an aggregation without windows."""

    def __init__(
        self, codec: StateCodec, store: Store | None, number: int, live: int, held: HeldRows | None = None
    ) -> None:
        self.groups = Groups(codec, store, bytes([number]), stored=live > 0)
        self.groups.live = live - (held.live if held is not None else 0)
        self.held = held

    def due(self, until: int) -> Iterator[tuple[Key, State]]:
        """The groups whose held rows are due (EMIT EVERY)."""
        assert self.held is not None
        for key in self.held.due(until):
            yield key, released(self.groups, key)

    @property
    def live(self) -> int:
        return self.groups.live + (self.held.live if self.held is not None else 0)

    @property
    def pending(self) -> int:
        return self.groups.pending

    @property
    def caches(self) -> Collection[Groups]:
        return (self.groups,)

    def cut(self) -> Iterator[Change]:
        yield from self.groups.cut()
        if self.held is not None:
            yield from self.held.cut()


def released(groups: Groups, key: Key) -> State:
    """A group whose row is held no more."""
    state = groups.cache.get(key)
    if state is None:
        state = groups.load(key)
    state.held = None
    groups.dirty[key] = state
    return state

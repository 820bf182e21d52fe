"""State of a query with session windows: the open sessions of each group, closed when the watermark is past them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

import msgspec

from headrace.sql.runtime.holding import HeldRows
from headrace.sql.runtime.records import Change, Store
from headrace.sql.runtime.state import Groups, Key, State, StateCodec, in_key_order, released, timers_prefix
from headrace.sql.runtime.timers import Timers
from headrace.sql.runtime.watermarks import END, START


class Session(Protocol):
    """The accumulators of one session: a generated Struct."""

    start: int
    """Event time of its first row."""
    last: int
    """Event time of its last row; it ends a gap later."""


class OpenSessions(msgspec.Struct, array_like=True):
    """The sessions of one group, by start: no two are within a gap of each other."""

    due: int = END
    """When its timer is due: never later than the end of the first session. END: it has none."""
    sessions: list[Any] = []
    held: int | None = None
    """When the newest rows of those that have changed are due (EMIT EVERY)."""


class SessionCodec(StateCodec, Protocol):
    def new_session(self) -> Any: ...


Merge = Callable[[Any, Any], None]
"""Generated: adds a session's accumulators, and its times, to another's."""


class SessionPlaces:
    """Finds the session that rows belong to, and merges those that rows connect."""

    def __init__(self, gap_ms: int, new: Callable[[], Any], merge: Merge) -> None:
        self._gap_ms = gap_ms
        self._new = new
        self._merge = merge

    def of_row(self, sessions: list[Any], time: int) -> Any:
        """The session of a row at this time, which reaches to it then."""
        gap = self._gap_ms
        near = [session for session in sessions if session.start - gap < time < session.last + gap]
        if not near:
            session = self._new()
            session.start = session.last = time
            self._insert(sessions, session)
            return session
        session = self._united(sessions, near)
        session.start = min(session.start, time)
        session.last = max(session.last, time)
        return session

    def of_session(self, sessions: list[Any], partial: Any) -> Any:
        """The session that a part of one belongs to, with that part in it."""
        gap = self._gap_ms
        near = [s for s in sessions if s.start < partial.last + gap and partial.start < s.last + gap]
        if not near:
            self._insert(sessions, partial)
            return partial
        session = self._united(sessions, near)
        self._merge(session, partial)
        return session

    def _united(self, sessions: list[Any], near: list[Any]) -> Any:
        first, *others = near
        for other in others:
            self._merge(first, other)
            del sessions[next(index for index, session in enumerate(sessions) if session is other)]
        return first

    def _insert(self, sessions: list[Any], session: Any) -> None:
        index = len(sessions)
        while index and sessions[index - 1].start > session.start:
            index -= 1
        sessions.insert(index, session)


class SessionState:
    """State of an aggregation with session windows.

    Each group has a timer, at or before the end of its first session. When it is due, the sessions that have ended are
    closed, and the timer is set anew for those that have not.
    """

    def __init__(
        self,
        codec: SessionCodec,
        store: Store,
        number: int,
        live: int,
        gap_ms: int,
        merge: Merge,
        held: HeldRows | None = None,
    ) -> None:
        self.groups = Groups(codec, store, bytes([number]), stored=live > 0)
        self.groups.live = (live - (held.live if held is not None else 0)) // 2
        self.held = held
        self.closed_until = START
        """Sessions that end at or before this are closed: what comes for them comes too late."""
        self._timers = Timers(codec.encode_key, codec.decode_key, store, timers_prefix(number) + b"c")
        self._timers.live = self.groups.live
        self._places = SessionPlaces(gap_ms, codec.new_session, merge)
        self._gap_ms = gap_ms

    def place(self, key: Key, group: OpenSessions, time: int) -> State:
        """The session that a row at this time belongs to."""
        session = self._places.of_row(group.sessions, time)
        self._schedule(key, group)
        return session

    def merge(self, key: Key, partial: State) -> State:
        """The session that a partial aggregate belongs to, with it."""
        group = self.groups.cache.get(key)
        if group is None:
            group = self.groups.load(key)
        session = self._places.of_session(group.sessions, partial)
        self._schedule(key, group)
        self.groups.dirty[key] = group
        if self.held is not None and group.held is None:
            self.held.hold(key, group)
        return session

    def _schedule(self, key: Key, group: OpenSessions) -> None:
        due = group.sessions[0].last + self._gap_ms
        if due < group.due:
            if group.due != END:
                self._timers.remove(group.due, key)
            group.due = due
            self._timers.add(due, key)

    def close(self, until: int) -> Iterator[tuple[Key, State]]:
        """Sessions that end at or before `until`, by end and key; their state is freed."""
        self.closed_until = max(self.closed_until, until)
        closed: dict[int, dict[Key, State]] = {}
        for key in self._timers.due(until):
            group = self.groups.cache.get(key)
            if group is None:
                group = self.groups.load(key)
            still_open: list[State] = []
            for session in group.sessions:
                end = session.last + self._gap_ms
                if end <= until:
                    closed.setdefault(end, {})[key] = session
                else:
                    still_open.append(session)
            if still_open:
                group.sessions, group.due = still_open, END
                self._schedule(key, group)
                self.groups.dirty[key] = group
            else:
                if self.held is not None and group.held is not None:
                    self.held.drop(key, group)
                self.groups.delete(key)
        for end in sorted(closed):
            for key in in_key_order(list(closed[end])):
                yield key, closed[end][key]

    def changed(self) -> Iterator[tuple[Key, State]]:
        """The open sessions of the groups that changed since the last cut."""
        for key, group in self.groups.take_dirty():
            for session in group.sessions:
                yield key, session

    def due(self, until: int) -> Iterator[tuple[Key, State]]:
        """The sessions of the groups whose held rows are due (EMIT EVERY)."""
        assert self.held is not None
        for key in self.held.due(until):
            for session in released(self.groups, key).sessions:
                yield key, session

    @property
    def live(self) -> int:
        """Entries that the store holds after the last cut: each group has its sessions and a timer."""
        return 2 * self.groups.live + (self.held.live if self.held is not None else 0)

    @property
    def pending(self) -> int:
        return self.groups.pending

    @property
    def caches(self) -> Collection[Groups]:
        return (self.groups,)

    def cut(self) -> Iterator[Change]:
        yield from self.groups.cut()
        yield from self._timers.cut()
        if self.held is not None:
            yield from self.held.cut()


class PartialSessions:
    """Sessions as far as one sender has seen their rows, until they are sent on."""

    def __init__(self, codec: SessionCodec, gap_ms: int, merge: Merge) -> None:
        self.groups = Groups(codec, None, b"", stored=False)
        self._places = SessionPlaces(gap_ms, codec.new_session, merge)

    def place(self, key: Key, group: OpenSessions, time: int) -> State:  # noqa: ARG002 (as SessionState.place)
        """The session that a row at this time belongs to."""
        return self._places.of_row(group.sessions, time)

    def drain(self) -> list[tuple[Key, State]]:
        """All sessions, which are forgotten."""
        return [(key, session) for key, group in self.groups.drain() for session in group.sessions]

    live = 0
    caches: Collection[Groups] = ()

    @property
    def pending(self) -> int:
        return self.groups.pending

    def cut(self) -> Iterator[Change]:
        return iter(())

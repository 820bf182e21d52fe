"""Bytes of grouping keys, accumulators and the rows that cross a repartition topic: msgpack, typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headrace.sql.runtime.opaque import restore, store
from headrace.sql.runtime.sessions import OpenSessions
from headrace.sql.runtime.watermarks import END

Key = Any
State = Any

encode_key = msgspec.msgpack.encode
"""The canonical bytes of a grouping key: injective and type-tagged, for the state store and for routing."""


class AccumulatorCodec:
    """Bytes of the groups of one aggregation.

    `totals` are the fields of integer sums: exact without bound, so one beyond 64 bits is stored as its decimal text,
    which a decoder that is not strict takes for the number it is. `flags` are the fields that say whether a row is out.
    """

    def __init__(self, struct: type, key_type: Any, totals: tuple[str, ...], flags: tuple[str, ...] = ()) -> None:
        self.new = struct
        self.struct = struct
        self._encode = msgspec.msgpack.Encoder(enc_hook=store).encode
        self.decode: Callable[[bytes], State] = msgspec.msgpack.Decoder(struct, strict=False, dec_hook=restore).decode
        self.encode_key = encode_key
        self.decode_key = msgspec.msgpack.Decoder(key_type).decode
        self.decode_window_key = msgspec.msgpack.Decoder(tuple[int, key_type]).decode
        """Of (window's end, grouping key)."""
        self._totals = totals
        self._flags = flags

    def renew(self, state: State) -> State:
        """A state for the group to begin anew with: empty, but it knows which of its rows are out."""
        return self.new(**{flag: getattr(state, flag) for flag in self._flags})

    def encode(self, state: State) -> bytes:
        try:
            return self._encode(state)
        except OverflowError:
            return self._encode(self.storable(state))

    def storable(self, state: State) -> State:
        """A copy in which sums beyond 64 bits are text."""
        large = {name: str(total) for name in self._totals if not -(2**63) <= (total := getattr(state, name)) < 2**63}
        return msgspec.structs.replace(state, **large)


class SessionCodec(AccumulatorCodec):
    """Bytes of the groups of an aggregation with session windows: of each group all its open sessions."""

    def __init__(self, struct: type, key_type: Any, totals: tuple[str, ...]) -> None:
        super().__init__(struct, key_type, totals)
        self.new_session = struct
        self.new = OpenSessions
        sessions: Any = list
        fields = [("due", int, END), ("sessions", sessions[struct], []), ("held", int | None, None)]
        group = msgspec.defstruct("OpenSessions", fields, array_like=True)
        self.decode = msgspec.msgpack.Decoder(group, strict=False, dec_hook=restore).decode

    def encode(self, state: State) -> bytes:
        try:
            return self._encode(state)
        except OverflowError:
            return self._encode(
                OpenSessions(state.due, [self.storable(session) for session in state.sessions], state.held)
            )


class Block(msgspec.Struct, array_like=True, gc=False):
    """The value of a record of a repartition topic: rows from one sender, and its watermark after them."""

    sender: int
    watermark: int
    idle: bool
    rows: msgspec.Raw


def place_in_union(branch: int, origin: int | bytes, position: int) -> bytes:
    """Where a row of a UNION comes from, in order: its branch, then its source partition and offset, or its key."""
    own = origin if isinstance(origin, bytes) else origin.to_bytes(4, "big") + position.to_bytes(8, "big")
    return bytes((branch,)) + own

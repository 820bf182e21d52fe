"""States of users' aggregate functions: for each group an object of the user's class, and how it is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, get_origin

import msgspec

from headrace.sql.errors import RecordError
from headrace.sql.functions.hints import HintReader
from headrace.sql.functions.user_scalars import exception_text, failure
from headrace.sql.runtime.opaque import Opaque
from headrace.sql.runtime.state import memory_of


class StateLayout:
    """A user's class as it is stored: its annotated attributes, by msgspec.

    An attribute that is an `int` has no bound: one beyond 64 bits is stored as its decimal text.
    """

    def __init__(self, class_: type, reader: HintReader) -> None:
        """UdfError where an object of the class would not be the same after a restart."""
        self._class = class_
        hints = reader.hints_of(class_)
        self.hints = {name: hint for name, hint in hints.items() if ClassVar not in (hint, get_origin(hint))}
        self._wide = [name for name, hint in self.hints.items() if hint is int]
        self._check_attributes(reader)
        fields = [(name, int | str if hint is int else hint) for name, hint in self.hints.items()]
        try:
            self._struct = msgspec.defstruct("State", fields, array_like=True)
            self._decode = msgspec.msgpack.Decoder(self._struct).decode
            self.restore(self.store(class_()))
        except Exception as error:  # of msgspec, or of the user's class
            raise reader.error(f"its state cannot be stored: {error}") from error

    def _check_attributes(self, reader: HintReader) -> None:
        try:
            empty = self._class()
        except Exception as error:  # the class is the user's
            raise reader.error(f"its empty state cannot be made: {exception_text(error)}") from error
        own = getattr(empty, "__dict__", {})
        for name in own.keys() - self.hints.keys():
            raise reader.error(f"attribute `{name}` has no annotation in the class, and would be lost at a restart")
        for name in self.hints:
            if not hasattr(empty, name):
                raise reader.error(f"attribute `{name}` has no value in the empty state")
            if name not in own and isinstance(getattr(empty, name), (list, dict, set, bytearray)):
                raise reader.error(f"attribute `{name}` would be one for all groups: make it in __init__")

    def __str__(self) -> str:
        shown = (f"{name} {hint.__name__ if isinstance(hint, type) else hint}" for name, hint in self.hints.items())
        return ", ".join(shown) or "nothing"

    def new(self) -> Any:
        return self._class()

    def store(self, own: Any) -> bytes:
        """The bytes of an object, which are sure to be read again; an exception where that cannot be."""
        for name in getattr(own, "__dict__", {}).keys() - self.hints.keys():
            raise AttributeError(f"attribute `{name}` has no annotation in the class, and would be lost at a restart")
        values = {name: getattr(own, name) for name in self.hints}
        for name in self._wide:
            if not isinstance(values[name], int):
                raise TypeError(f"attribute `{name}` is {type(values[name]).__name__}, and its annotation says int")
            if not -(2**63) <= values[name] < 2**63:
                values[name] = str(values[name])
        data = msgspec.msgpack.encode(self._struct(**values))
        self._decode(data)
        return data

    def restore(self, data: bytes) -> Any:
        own, stored = self._class(), self._decode(data)
        for name in self.hints:
            value = getattr(stored, name)
            setattr(own, name, int(value) if name in self._wide else value)
        return own

    def memory(self, own: Any) -> int:
        """Bytes that an object takes, by estimate."""
        return memory_of([getattr(own, name, None) for name in self.hints])


class UserState(Opaque):
    """The state of a group, or the exception that ended it: then nothing that it could tell is sure.

    What is wrong with a row was found before, with an empty state. What an update or a merge raises here comes of the
    state, and is told with each result row.
    """

    __slots__ = ("error", "own")

    name: ClassVar[str]
    layout: ClassVar[StateLayout]
    convert: ClassVar[Callable[[Sequence[Any]], Sequence[Any]] | None]
    finish: ClassVar[Callable[[Any], Any]]
    """The result of an object, as a value in memory; a RecordError for all that it raises."""

    def __init__(self) -> None:
        self.own: Any = None
        self.error: str | None = None
        self._try(self._begin)

    def _try(self, step: Callable[..., None], *given: Any) -> None:
        if self.error is not None:
            return
        try:
            step(*given)
        except Exception as error:  # noqa: BLE001  # the class is the user's: what it raises ends the state alone
            self.error = str(failure(self.name, error))

    def _begin(self) -> None:
        self.own = self.layout.new()

    def add(self, *operands: Any) -> None:
        self._try(self._update, *operands)

    def _update(self, *operands: Any) -> None:
        convert = type(self).convert
        self.own.update(*(operands if convert is None else convert(operands)))

    def merge(self, other: UserState) -> None:
        """Take the rows of another state in, which stays as it is."""
        if other.error is not None:
            self.error = self.error or other.error
        self._try(self._merge, other)

    def _merge(self, other: UserState) -> None:
        self.own.merge(self.layout.restore(self.layout.store(other.own)))

    def result(self) -> Any:
        if self.error is not None:
            raise RecordError("udf", self.error)
        return type(self).finish(self.own)

    def stored(self) -> tuple[str | None, bytes]:
        data = b""
        if self.error is None:
            try:
                data = self.layout.store(self.own)
            except Exception as error:  # noqa: BLE001  # attributes are the user's: they may hold anything
                self.error = str(failure(self.name, error))
        return self.error, data

    @classmethod
    def restored(cls, stored: tuple[str | None, bytes]) -> Self:
        state = cls.__new__(cls)
        state.error, data = stored
        state.own = cls.layout.restore(data) if state.error is None else None
        return state

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + (self.layout.memory(self.own) if self.own is not None else 0)

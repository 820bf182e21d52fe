"""States that are objects of a class of their own, and how they are stored: as plain data that msgspec encodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self


class Opaque(ABC):
    """A state that only its own class understands."""

    @abstractmethod
    def stored(self) -> Any:
        """Plain data that `restored` makes an equal state of."""

    @classmethod
    @abstractmethod
    def restored(cls, stored: Any) -> Self:
        """The state of its data."""


def store(value: Any) -> Any:
    """For msgspec's encoder: what it does not know itself."""
    if isinstance(value, Opaque):
        return value.stored()
    raise NotImplementedError(f"{type(value).__name__} is no state")


def restore(type_: Any, stored: Any) -> Any:
    """For msgspec's decoder: what it does not know itself."""
    if isinstance(type_, type) and issubclass(type_, Opaque):
        return type_.restored(stored)
    raise NotImplementedError(f"{type_} is no state")

"""What generated code takes from outside beside the clock: random numbers and names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chance:
    """Sources of chance, called once for each call of RANDOM or UUID."""

    random: Callable[[], float]
    """A number from 0 up to, but not, 1."""
    uuid: Callable[[], str]
    """The text of a new random UUID, in lower case."""

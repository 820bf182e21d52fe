"""The functions that the calls of one app can mean: the built-in ones, and its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from headrace.sql.functions import aggregates, scalars, windows
from headrace.sql.functions.accumulators import AggregateFunction
from headrace.sql.functions.registry import ScalarFunction


@dataclass(frozen=True, slots=True, eq=False)
class Functions:
    """Functions by all their names. Immutable: each app has its own."""

    scalars: Mapping[str, ScalarFunction]
    aggregates: Mapping[str, AggregateFunction]

    def names(self) -> Iterator[str]:
        """Every name that a call can have, but for those of window functions."""
        yield from self.scalars
        yield from scalars.REWRITTEN
        yield from self.aggregates


BUILT_IN = Functions(scalars.BY_NAME, aggregates.BY_NAME)


def is_built_in(name: str) -> bool:
    """Whether a name means a function of Headrace's own."""
    return name in (*windows.BY_NAME, *windows.OF_WHOLE_PARTITIONS, *BUILT_IN.names())

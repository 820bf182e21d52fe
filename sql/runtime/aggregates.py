"""What aggregate functions do with the values that they have kept.

Values are as in headrace.sql.types; NULL never reaches these functions, unless they say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from decimal import Decimal
from functools import reduce
from operator import itemgetter
from typing import Any

from headrace.sql.errors import RecordError
from headrace.sql.runtime.values import decimal_add, divide_decimal
from headrace.sql.vocabulary import Direction

ELEMENTS_MAX = 100_000
"""The most elements that a group keeps for one function."""


def check_elements(kept: Collection[Any]) -> None:
    """RecordError where a group has more elements than it keeps."""
    if len(kept) > ELEMENTS_MAX:
        raise RecordError("too_large", f"an aggregate of more than {ELEMENTS_MAX} elements")


def sum_decimal(numbers: Collection[Decimal]) -> Decimal:
    return reduce(decimal_add, numbers, Decimal(0))


def mean_decimal(numbers: Collection[Decimal]) -> Decimal:
    return divide_decimal(sum_decimal(numbers), Decimal(len(numbers)))


def mean_integer(numbers: Collection[int]) -> float:
    return sum(numbers) / len(numbers)


# Counts of values


def merge_counts(counts: dict[Any, int], others: dict[Any, int]) -> None:
    """Add the counts of others, as far as there is room for their values."""
    for value, count in others.items():
        if value in counts or len(counts) <= ELEMENTS_MAX:
            counts[value] = counts.get(value, 0) + count


def continuous_percentile(counts: dict[Any, int], fraction: Decimal) -> float | None:
    """The value at the place (n - 1) * fraction of the values in order, interpolated: PERCENTILE_CONT of SQL:2003."""
    check_elements(counts)
    if not counts:
        return None
    place = fraction * (sum(counts.values()) - 1)
    index = int(place)
    values = sorted(counts)
    lower, upper = float(_at(values, counts, index)), float(_at(values, counts, index + (place != index)))
    return lower + (upper - lower) * float(place - index)


def discrete_percentile(counts: dict[Any, int], fraction: Decimal) -> Any:
    """The first value in order up to which the fraction of the values lies: PERCENTILE_DISC of SQL:2003."""
    return _discrete(sorted(counts), counts, fraction)


def discrete_percentile_descending(counts: dict[Any, int], fraction: Decimal) -> Any:
    return _discrete(sorted(counts, reverse=True), counts, fraction)


def _discrete(values: list[Any], counts: dict[Any, int], fraction: Decimal) -> Any:
    check_elements(counts)
    if not values:
        return None
    return _at(values, counts, max(0, math.ceil(fraction * sum(counts.values())) - 1))


def _at(values: list[Any], counts: dict[Any, int], place: int) -> Any:
    """The value at a place, where each of the values in order comes as often as it was counted."""
    for value in values:
        place -= counts[value]
        if place < 0:
            return value
    raise AssertionError("a place within the values")


# Lists and sets in the order of rows; the order of a row is (event time, source partition, offset)

Order = tuple[int, int | bytes, int]
_order_of = itemgetter(0, 1, 2)


def in_order(entries: list[Any]) -> tuple[Any, ...] | None:
    """The values of (order of a row, value) by the order; NULL over nothing."""
    check_elements(entries)
    return tuple(entry[3] for entry in sorted(entries, key=_order_of)) or None


def in_order_of(entries: list[Any], directions: tuple[Direction, ...]) -> tuple[Any, ...] | None:
    """The values of (order of a row, value, keys) by the keys, then by the order; NULL over nothing."""
    check_elements(entries)
    found = sorted(entries, key=_order_of)
    for place in reversed(range(len(directions))):
        direction, key = directions[place], itemgetter(place + 4)
        nulls = [entry for entry in found if key(entry) is None]
        others = [entry for entry in found if key(entry) is not None]
        others.sort(key=key, reverse=direction.descending)
        found = nulls + others if direction.nulls_first else others + nulls
    return tuple(entry[3] for entry in found) or None


def joined(texts: tuple[str, ...] | None, separator: str) -> str | None:
    return None if texts is None else separator.join(texts)


def keep_first(found: dict[Any, Order], value: Any, order: Order) -> None:
    """Keep of a value the order of the first row that has it, as far as there is room for values."""
    known = found.get(value)
    if (len(found) <= ELEMENTS_MAX) if known is None else (order < known):
        found[value] = order


def merge_first(found: dict[Any, Order], others: dict[Any, Order]) -> None:
    for value, order in others.items():
        keep_first(found, value, order)


def as_they_came(found: dict[Any, Order]) -> tuple[Any, ...] | None:
    """The different values, by their first rows; NULL over nothing."""
    check_elements(found)
    return tuple(sorted(found, key=found.__getitem__)) or None


# Maps


def keep_last(map_: dict[str, Any], key: str, order: Order, value: Any) -> None:
    """Keep of a key the value in the last row that has it, as far as there is room for keys."""
    known = map_.get(key)
    if (len(map_) <= ELEMENTS_MAX) if known is None else (order >= known[:3]):
        map_[key] = (*order, value)


def merge_last(map_: dict[str, Any], others: dict[str, Any]) -> None:
    for key, (*order, value) in others.items():
        keep_last(map_, key, (order[0], order[1], order[2]), value)


def by_key(map_: dict[str, Any]) -> dict[str, Any] | None:
    """The values by their keys, these in order; NULL over nothing."""
    check_elements(map_)
    return {key: map_[key][3] for key in sorted(map_)} or None


def encoded(map_: dict[str, Any] | None, encode: Callable[[dict[str, Any]], str]) -> str | None:
    return None if map_ is None else encode(map_)


def histogram(counts: dict[str, int]) -> dict[str, int] | None:
    """The counts, by their values in order; NULL over nothing."""
    check_elements(counts)
    return dict(sorted(counts.items())) or None


# The first, the last, the largest


def keep_first_rows(entries: list[Any], others: Iterable[Any], count: int) -> None:
    """Keep of (order of a row, value) those of the first rows, in order."""
    entries[:] = sorted((*entries, *others), key=_order_of)[:count]


def keep_last_rows(entries: list[Any], others: Iterable[Any], count: int) -> None:
    """Keep of (order of a row, value) those of the last rows, in order."""
    entries[:] = sorted((*entries, *others), key=_order_of)[-count:]


def keep_largest(largest: list[Any], others: Iterable[Any], count: int) -> None:
    """Keep the largest values, the smallest of them first."""
    largest[:] = sorted((*largest, *others))[-count:]


def keep_largest_different(largest: list[Any], others: Iterable[Any], count: int) -> None:
    largest[:] = sorted({*largest, *others})[-count:]


def largest(values: list[Any]) -> tuple[Any, ...] | None:
    """The largest value first; NULL over nothing."""
    return tuple(reversed(values)) or None


# Sums of elements


def add_elements(total: Any, elements: tuple[Any, ...]) -> Any:
    """The total and the elements that are not NULL: numbers that Python adds exactly, or DOUBLE."""
    return sum((element for element in elements if element is not None), total)


def add_decimal_elements(total: Decimal, elements: tuple[Decimal | None, ...]) -> Decimal:
    return reduce(decimal_add, (element for element in elements if element is not None), total)

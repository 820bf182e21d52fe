"""Scalar functions over ARRAY and MAP."""

from __future__ import annotations

from typing import Any

from headrace.sql.errors import RecordError
from headrace.sql.functions.registry import ScalarFunction, Signature, one
from headrace.sql.types import BIGINT, BOOLEAN, INT, VARCHAR, Type, array_type, map_type

Array = tuple[Any, ...]
SERIES_MAX = 1_000_000


def array_distinct(array: Array) -> Array:
    return tuple(dict.fromkeys(array))


def array_sort(array: Array, direction: str = "ASC") -> Array:
    """In order, NULLs last as in PostgreSQL (and first in descending order)."""
    word = direction.strip().upper()
    if word not in ("ASC", "ASCENDING", "DESC", "DESCENDING"):
        raise RecordError("domain", f"'{direction}' is neither ASC nor DESC")
    is_descending = word.startswith("DESC")
    found = sorted((item for item in array if item is not None), reverse=is_descending)
    nulls = [None] * (len(array) - len(found))
    return tuple(nulls + found if is_descending else found + nulls)


def array_join(array: tuple[str | None, ...], separator: str = ",", null_text: str | None = None) -> str:
    if null_text is None:
        return separator.join(item for item in array if item is not None)
    return separator.join(null_text if item is None else item for item in array)


def array_position(array: Array, item: object) -> int:
    """Where an element first stands, from 1; 0 where it does not."""
    return array.index(item) + 1 if item in array else 0


def array_remove(array: Array, item: object) -> Array:
    return tuple(found for found in array if found != item)


def array_except(array: Array, other: Array) -> Array:
    gone = set(other)
    return tuple(item for item in dict.fromkeys(array) if item not in gone)


def array_intersect(array: Array, other: Array) -> Array:
    kept = set(other)
    return tuple(item for item in dict.fromkeys(array) if item in kept)


def array_union(array: Array, other: Array) -> Array:
    return tuple(dict.fromkeys(array + other))


def array_least(array: Array) -> Any:
    return min((item for item in array if item is not None), default=None)


def array_greatest(array: Array) -> Any:
    return max((item for item in array if item is not None), default=None)


def array_slice(array: Array, first: int, last: int) -> Array:
    """Elements from one position to another, both included; the first is 1, the last is -1."""
    start = first - 1 if first > 0 else max(len(array) + first, 0) if first < 0 else 0
    end = last if last >= 0 else len(array) + last + 1
    return array[start : max(end, 0)]


def map_of_text(text: str, entries: str = ",", assignment: str = "=") -> dict[str, str | None]:
    """Entries such as `a=1,b=2`."""
    if not entries or not assignment:
        raise RecordError("domain", "a delimiter is empty")
    pairs = (entry.partition(assignment) for entry in text.split(entries) if entry)
    return {key: value if sign else None for key, sign, value in pairs}


def map_of_arrays(keys: tuple[str | None, ...], values: Array) -> dict[str, Any]:
    if len(keys) != len(values):
        raise RecordError("domain", f"{len(keys)} keys and {len(values)} values")
    if None in keys:
        raise RecordError("null", "a key of a MAP is NULL")
    return dict(zip(keys, values, strict=True))  # type: ignore[arg-type]


def series(first: int, last: int, step: int | None = None) -> tuple[int, ...]:
    """Whole numbers from one to another, both included."""
    by = step if step is not None else 1 if first <= last else -1
    if by == 0:
        raise RecordError("domain", "a series with a step of 0 never ends")
    numbers = range(first, last + (1 if by > 0 else -1), by)
    if len(numbers) > SERIES_MAX:
        raise RecordError("domain", f"a series of more than {SERIES_MAX} numbers")
    return tuple(numbers)


# Types of results, of the types of the operands


def _as_given(types: tuple[Type, ...]) -> Type:
    return types[0]


def _if_told_apart(types: tuple[Type, ...]) -> Type | None:
    return types[0] if types[0].element is not None and types[0].element.has_keys else None


def _if_ordered(types: tuple[Type, ...]) -> Type | None:
    return types[0] if types[0].element is not None and types[0].element.is_ordered else None


def _ordered_element(types: tuple[Type, ...]) -> Type | None:
    return types[0].element if _if_ordered(types) is not None else None


def _values(types: tuple[Type, ...]) -> Type | None:
    return array_type(types[0].element) if types[0].element is not None else None


def _map_of(types: tuple[Type, ...]) -> Type | None:
    keys, values = types[0].element, types[1].element
    return map_type(values) if keys == VARCHAR and values is not None else None


FUNCTIONS: tuple[ScalarFunction, ...] = (
    ScalarFunction(
        "ARRAY_LENGTH",
        ("CARDINALITY",),
        (Signature(("array",), INT, "len({0})"), Signature(("map",), INT, "len({0})")),
        "The number of elements of an ARRAY, or of entries of a MAP.",
        (("ARRAY_LENGTH(ARRAY[1, NULL])", "2"), ("ARRAY_LENGTH(MAP('a' := 1))", "1")),
    ),
    one(
        "ARRAY_CONTAINS",
        Signature(("array", "element"), BOOLEAN, "({1} in {0})"),
        "Whether an ARRAY has an element.",
        ("ARRAY_CONTAINS(ARRAY[1, 2], 2)", "TRUE"),
        ("ARRAY_CONTAINS(ARRAY['a'], 'b')", "FALSE"),
    ),
    one(
        "ARRAY_POSITION",
        Signature(("array", "element"), INT, "array_position({*})", (array_position,)),
        "Where an element first stands (the first place is 1); 0 where it does not.",
        ("ARRAY_POSITION(ARRAY['a', 'b'], 'b')", "2"),
    ),
    one(
        "ARRAY_JOIN",
        Signature((array_type(VARCHAR), VARCHAR, VARCHAR), VARCHAR, "array_join({*})", (array_join,), optional=2),
        "The elements as one text, a text (or a comma) between them. NULLs are left out, or are a third text.",
        ("ARRAY_JOIN(ARRAY['a', NULL, 'b'], '-')", "'a-b'"),
        ("ARRAY_JOIN(ARRAY[1, NULL], ',', '?')", "'1,?'"),
        aliases=("ARRAY_TO_STRING",),
    ),
    one(
        "ARRAY_DISTINCT",
        Signature(("array",), _if_told_apart, "array_distinct({0})", (array_distinct,)),
        "Each element once, where it first stood.",
        ("ARRAY_DISTINCT(ARRAY[2, 1, 2])", "ARRAY[2, 1]"),
    ),
    one(
        "ARRAY_SORT",
        Signature(("array", VARCHAR), _if_ordered, "array_sort({*})", (array_sort,), optional=1, fails=True),
        "The elements in order, NULLs at the end; with 'DESC' backwards.",
        ("ARRAY_SORT(ARRAY[2, NULL, 1])", "ARRAY[1, 2, NULL]"),
        ("ARRAY_SORT(ARRAY['a', 'b'], 'DESC')", "ARRAY['b', 'a']"),
    ),
    one(
        "ARRAY_REVERSE",
        Signature(("array",), _as_given, "{0}[::-1]"),
        "The elements backwards.",
        ("ARRAY_REVERSE(ARRAY[1, 2, 3])", "ARRAY[3, 2, 1]"),
    ),
    one(
        "ARRAY_CONCAT",
        Signature(("array", "same"), _as_given, "({0} + {1})"),
        "The elements of one ARRAY, then those of another.",
        ("ARRAY_CONCAT(ARRAY[1], ARRAY[2, 1])", "ARRAY[1, 2, 1]"),
        aliases=("ARRAY_CAT",),
    ),
    one(
        "ARRAY_APPEND",
        Signature(("array", "element"), _as_given, "({0} + ({1},))"),
        "The elements, then one more.",
        ("ARRAY_APPEND(ARRAY[1], 2)", "ARRAY[1, 2]"),
    ),
    one(
        "ARRAY_REMOVE",
        Signature(("array", "element"), _as_given, "array_remove({*})", (array_remove,)),
        "All elements but those that are equal to the second operand.",
        ("ARRAY_REMOVE(ARRAY[1, 2, 1], 1)", "ARRAY[2]"),
    ),
    one(
        "ARRAY_UNION",
        Signature(("array", "same"), _if_told_apart, "array_union({*})", (array_union,)),
        "Each element of either ARRAY once.",
        ("ARRAY_UNION(ARRAY[1, 2], ARRAY[2, 3])", "ARRAY[1, 2, 3]"),
    ),
    one(
        "ARRAY_INTERSECT",
        Signature(("array", "same"), _if_told_apart, "array_intersect({*})", (array_intersect,)),
        "Each element that both have, once.",
        ("ARRAY_INTERSECT(ARRAY[1, 2, 2], ARRAY[2, 3])", "ARRAY[2]"),
    ),
    one(
        "ARRAY_EXCEPT",
        Signature(("array", "same"), _if_told_apart, "array_except({*})", (array_except,)),
        "Each element of the first that the second does not have, once.",
        ("ARRAY_EXCEPT(ARRAY[1, 2, 1], ARRAY[2])", "ARRAY[1]"),
    ),
    one(
        "ARRAY_MIN",
        Signature(("array",), _ordered_element, "array_least({0})", (array_least,), may_be_null=True),
        "The smallest element.",
        ("ARRAY_MIN(ARRAY[2, NULL, 1])", "1"),
    ),
    one(
        "ARRAY_MAX",
        Signature(("array",), _ordered_element, "array_greatest({0})", (array_greatest,), may_be_null=True),
        "The largest element.",
        ("ARRAY_MAX(ARRAY[2, NULL, 1])", "2"),
    ),
    one(
        "SLICE",
        Signature(("array", "integer", "integer"), _as_given, "array_slice({*})", (array_slice,)),
        "The elements from one position to another, both included; the first is 1, the last is -1.",
        ("SLICE(ARRAY[1, 2, 3, 4], 2, 3)", "ARRAY[2, 3]"),
        ("SLICE(ARRAY[1, 2, 3, 4], 3, -1)", "ARRAY[3, 4]"),
        aliases=("ARRAY_SLICE",),
    ),
    one(
        "MAP_KEYS",
        Signature(("map",), array_type(VARCHAR), "tuple({0})"),
        "The keys of a MAP.",
        ("MAP_KEYS(MAP('a' := 1, 'b' := 2))", "ARRAY['a', 'b']"),
    ),
    one(
        "MAP_VALUES",
        Signature(("map",), _values, "tuple({0}.values())"),
        "The values of a MAP.",
        ("MAP_VALUES(MAP('a' := 1, 'b' := 2))", "ARRAY[1, 2]"),
    ),
    one(
        "MAP_UNION",
        Signature(("map", "same"), _as_given, "({0} | {1})"),
        "The entries of both; where both have a key, that of the second.",
        ("MAP_UNION(MAP('a' := 1), MAP('a' := 2, 'b' := 3))", "MAP('a' := 2, 'b' := 3)"),
    ),
    one(
        "MAP_FROM_ARRAYS",
        Signature(("array", "array"), _map_of, "map_of_arrays({*})", (map_of_arrays,), fails=True),
        "A MAP of an ARRAY of keys and one of values.",
        ("MAP_FROM_ARRAYS(ARRAY['a', 'b'], ARRAY[1, 2])", "MAP('a' := 1, 'b' := 2)"),
        aliases=("AS_MAP",),
    ),
    one(
        "STR_TO_MAP",
        Signature(
            (VARCHAR, VARCHAR, VARCHAR), map_type(VARCHAR), "map_of_text({*})", (map_of_text,), optional=2, fails=True
        ),
        "A MAP of a text of entries; they are separated by `,` and hold `=`, if nothing else is said.",
        ("STR_TO_MAP('a=1,b=2')", "MAP('a' := '1', 'b' := '2')"),
        ("STR_TO_MAP('a:1;b:2', ';', ':')", "MAP('a' := '1', 'b' := '2')"),
        aliases=("SPLIT_TO_MAP",),
    ),
    one(
        "GENERATE_SERIES",
        Signature((BIGINT, BIGINT, BIGINT), array_type(BIGINT), "series({*})", (series,), optional=1, fails=True),
        "Whole numbers from one to another, both included, by a step (1, or -1 downwards, if left out).",
        ("GENERATE_SERIES(1, 4)", "ARRAY[1, 2, 3, 4]"),
        ("GENERATE_SERIES(5, 1, -2)", "ARRAY[5, 3, 1]"),
    ),
)

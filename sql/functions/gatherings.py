"""Aggregate functions that keep many values: lists, sets, maps, texts, the largest ones.

What grows keeps 100,000 elements for a group: beyond that its rows are errors, and the state grows no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.sql.functions.accumulators import (
    COUNT_OF_ELEMENTS,
    SEPARATOR,
    Accumulator,
    AggregateFunction,
    AggregateSignature,
    Aggregation,
    Example,
    Given,
    OrderBy,
    StateSize,
)
from headrace.sql.functions.statistics import counts
from headrace.sql.runtime import aggregates
from headrace.sql.runtime.nested import text_of_nested
from headrace.sql.types import BIGINT, JSON, VARCHAR, Type, array_type, map_type, python_type

# Accumulators


def _list(given: Given, *, nulls: bool) -> Accumulator:
    """All values, each behind the order of its row and before the keys of ORDER BY."""
    keys = len(given.order)
    parts: list[Any] = [int, int | bytes, int, *(python_type(type_) | None for type_ in given.types)]
    row: Any = tuple
    entry: Any = row[tuple(parts)]
    entries: Any = list
    values = ", ".join(f"{{{place}}}" for place in range(keys + 1))
    kind = ("list" if nulls else "values") + ("_by" if keys else "")
    update = (f"if len({{f}}) <= {aggregates.ELEMENTS_MAX}:", f"    {{f}}.append((*{{o}}, {values}))")
    merge = (f"if len({{f}}) <= {aggregates.ELEMENTS_MAX}:", "    {f} += {g}")
    seen = tuple(range(0 if nulls else 1, keys + 1))
    return Accumulator(kind, update, merge, entries[entry], list, ordered=True, sees_null=seen)


def _set(type_: Type, *, nulls: bool) -> Accumulator:
    """The different values, each with the order of its first row."""
    row: Any = dict
    storage = row[python_type(type_) | None if nulls else python_type(type_), tuple[int, int | bytes, int]]
    return Accumulator(
        "set" if nulls else "different_values",
        ("{keep_first}({f}, {v}, {o})",),
        ("{merge_first}({f}, {g})",),
        storage,
        dict,
        names={"keep_first": aggregates.keep_first, "merge_first": aggregates.merge_first},
        ordered=True,
        sees_null=(0,) if nulls else (),
    )


def _map(type_: Type) -> Accumulator:
    """For each key its value in the last row that has one, behind the order of that row."""
    row: Any = tuple
    map_: Any = dict
    return Accumulator(
        "map",
        ("{keep_last}({f}, {v}, {o}, {w})",),
        ("{merge_last}({f}, {g})",),
        map_[str, row[int, int | bytes, int, python_type(type_) | None]],
        dict,
        names={"keep_last": aggregates.keep_last, "merge_last": aggregates.merge_last},
        ordered=True,
        sees_null=(1,),
    )


def _top(given: Given, kind: str, keep: Callable[..., None]) -> Accumulator:
    """The n largest values, in order."""
    count = given.constants[0]
    values: Any = list
    return Accumulator(
        f"{kind}_{count}",
        (f"if len({{f}}) < {count} or {{v}} > {{f}}[0]:", f"    {{keep}}({{f}}, ({{v}},), {count})"),
        (f"{{keep}}({{f}}, {{g}}, {count})",),
        values[python_type(given.type)],
        list,
        names={"keep": keep},
    )


# Functions


def _listed(given: Given) -> str:
    """Code of the values of a list, in their order."""
    return "{in_order_of}({values}, {directions})" if given.order else "{in_order}({values})"


def _collect(given: Given) -> Aggregation | None:
    kept = _list(given, nulls=True)
    code = _listed(given).replace("{values}", f"{{{kept.kind}}}")
    return Aggregation(array_type(given.type), (kept,), code, _names(given), fails=True)


def _collect_different(given: Given) -> Aggregation | None:
    if not given.type.has_keys:
        return None
    names = {"as_they_came": aggregates.as_they_came}
    return Aggregation(
        array_type(given.type), (_set(given.type, nulls=True),), "{as_they_came}({set})", names, fails=True
    )


def _names(given: Given) -> dict[str, Any]:
    return {
        "in_order": aggregates.in_order,
        "in_order_of": aggregates.in_order_of,
        "directions": given.order,
        "as_they_came": aggregates.as_they_came,
        "joined": aggregates.joined,
        "separator": given.constants[0] if given.constants else ",",
    }


def _text(given: Given) -> Aggregation | None:
    kept = _list(given, nulls=False)
    code = f"{{joined}}({_listed(given)}, {{separator}})".replace("{values}", f"{{{kept.kind}}}")
    return Aggregation(VARCHAR, (kept,), code, _names(given), fails=True)


def _text_of_different(given: Given) -> Aggregation | None:
    code = "{joined}({as_they_came}({different_values}), {separator})"
    return Aggregation(VARCHAR, (_set(given.type, nulls=False),), code, _names(given), fails=True)


def _map_of(given: Given) -> Aggregation | None:
    value = given.types[1]
    names = {"by_key": aggregates.by_key}
    return Aggregation(map_type(value), (_map(value),), "{by_key}({map})", names, fails=True)


def _json_of(given: Given) -> Aggregation | None:
    value = given.types[1]
    names = {"by_key": aggregates.by_key, "encoded": aggregates.encoded, "encode": text_of_nested(map_type(value))}
    return Aggregation(JSON, (_map(value),), "{encoded}({by_key}({map}), {encode})", names, fails=True)


def _histogram(given: Given) -> Aggregation | None:
    names = {"histogram": aggregates.histogram}
    return Aggregation(map_type(BIGINT), (counts(given.type),), "{histogram}({counts})", names, fails=True)


def _largest(kind: str, keep: Callable[..., None]) -> Callable[[Given], Aggregation | None]:
    def aggregation(given: Given) -> Aggregation | None:
        if not given.type.is_ordered:
            return None
        kept = _top(given, kind, keep)
        names = {"largest": aggregates.largest}
        return Aggregation(array_type(given.type), (kept,), f"{{largest}}({{{kept.kind}}})", names)

    return aggregation


_TOP = _largest("top", aggregates.keep_largest)
_TOP_DIFFERENT = _largest("top_different", aggregates.keep_largest_different)
_ROWS = ("b", "a", None, "b")
_PAIRS = (("b", 1), ("a", 2), (None, 3), ("b", None))
_COLLECT_SET = (AggregateSignature(("any",), _collect_different),)
_DIFFERENT_TOP = (AggregateSignature(("any",), _TOP_DIFFERENT, (COUNT_OF_ELEMENTS,)),)

FUNCTIONS: tuple[AggregateFunction, ...] = (
    AggregateFunction(
        "COLLECT_LIST",
        ("ARRAY_AGG",),
        (AggregateSignature(("any",), _collect),),
        "All values, NULL among them, as an ARRAY in the order of rows or of ORDER BY.",
        StateSize.ROWS,
        _COLLECT_SET,
        OrderBy.ELEMENTS,
        examples=(
            Example("COLLECT_LIST(x)", _ROWS, list(_ROWS), "x VARCHAR"),
            Example("ARRAY_AGG(x ORDER BY x DESC NULLS LAST)", _ROWS, ["b", "b", "a", None], "x VARCHAR"),
        ),
    ),
    AggregateFunction(
        "COLLECT_SET",
        (),
        _COLLECT_SET,
        "The different values, NULL among them, as an ARRAY in the order in which they first came.",
        StateSize.DISTINCT,
        _COLLECT_SET,
        examples=(
            Example("COLLECT_SET(x)", _ROWS, ["b", "a", None], "x VARCHAR"),
            Example("COLLECT_LIST(DISTINCT x)", _ROWS, ["b", "a", None], "x VARCHAR"),
        ),
    ),
    AggregateFunction(
        "LISTAGG",
        ("STRING_AGG", "GROUP_CONCAT"),
        (AggregateSignature((VARCHAR,), _text), AggregateSignature((VARCHAR,), _text, (SEPARATOR,))),
        "The texts with a separator between them (a comma if left out), in the order of rows or of ORDER BY. "
        "Also LISTAGG(x) WITHIN GROUP (ORDER BY y).",
        StateSize.ROWS,
        (
            AggregateSignature((VARCHAR,), _text_of_different),
            AggregateSignature((VARCHAR,), _text_of_different, (SEPARATOR,)),
        ),
        OrderBy.ELEMENTS,
        examples=(
            Example("LISTAGG(x, '; ')", _ROWS, "b; a; b", "x VARCHAR"),
            Example("LISTAGG(x) WITHIN GROUP (ORDER BY x)", _ROWS, "a,b,b", "x VARCHAR"),
            Example("LISTAGG(DISTINCT x)", _ROWS, "b,a", "x VARCHAR"),
        ),
    ),
    AggregateFunction(
        "MAP_AGG",
        (),
        (AggregateSignature((VARCHAR, "any"), _map_of),),
        "A MAP of the second operand by the first, of each key the value in the last row; in the order of keys.",
        StateSize.DISTINCT,
        examples=(Example("MAP_AGG(x, y)", _PAIRS, {"a": 2, "b": None}, "x VARCHAR, y INT"),),
    ),
    AggregateFunction(
        "JSON_OBJECTAGG",
        (),
        (AggregateSignature((VARCHAR, "any"), _json_of),),
        "As MAP_AGG, as a JSON object.",
        StateSize.DISTINCT,
        examples=(Example("JSON_OBJECTAGG(x, y)", _PAIRS, {"a": 2, "b": None}, "x VARCHAR, y INT"),),
    ),
    AggregateFunction(
        "HISTOGRAM",
        (),
        (AggregateSignature((VARCHAR,), _histogram),),
        "How often each text came, as a MAP in the order of texts.",
        StateSize.DISTINCT,
        examples=(Example("HISTOGRAM(x)", _ROWS, {"a": 1, "b": 2}, "x VARCHAR"),),
    ),
    AggregateFunction(
        "TOPK",
        (),
        (AggregateSignature(("any",), _TOP, (COUNT_OF_ELEMENTS,)),),
        "The n largest values as an ARRAY, the largest first.",
        StateSize.ELEMENTS,
        _DIFFERENT_TOP,
        examples=(Example("TOPK(x, 3)", (1, 5, None, 5, 2), [5, 5, 2]),),
    ),
    AggregateFunction(
        "TOPKDISTINCT",
        (),
        _DIFFERENT_TOP,
        "The n largest different values as an ARRAY, the largest first.",
        StateSize.ELEMENTS,
        _DIFFERENT_TOP,
        examples=(Example("TOPKDISTINCT(x, 3)", (1, 5, None, 5, 2), [5, 2, 1]),),
    ),
)

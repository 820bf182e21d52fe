"""Scalar functions over JSON, which is a value of type JSON or its text.

A text that is not JSON gives NULL (JSON_EXISTS: FALSE), as in ksqlDB and Flink.
"""

from __future__ import annotations

from typing import Any

from headrace.sql.errors import RecordError
from headrace.sql.functions.registry import Rewritten, ScalarFunction, Signature, one
from headrace.sql.runtime.json_access import MISSING, at_path, json_path, parsed, scalar_text, text_of
from headrace.sql.types import BOOLEAN, INT, JSON, VARCHAR, array_type, map_type


def _found(text: str, path: str) -> Any:
    """The value at a path; MISSING also where the text is not JSON. RecordError where the path is none."""
    json_path(path)
    try:
        return at_path(text, path)
    except RecordError:
        return MISSING


def _whole(text: str) -> Any:
    try:
        return parsed(text)
    except RecordError:
        return MISSING


def json_field(text: str, path: str) -> str | None:
    found = _found(text, path)
    return None if found is MISSING else scalar_text(found)


def json_value(text: str, path: str) -> str | None:
    found = _found(text, path)
    return None if found is MISSING or isinstance(found, (dict, list)) else scalar_text(found)


def json_query(text: str, path: str) -> str | None:
    found = _found(text, path)
    return text_of(found) if isinstance(found, (dict, list)) else None


def json_exists(text: str, path: str) -> bool:
    return _found(text, path) is not MISSING


def is_json(text: str) -> bool:
    return _whole(text) is not MISSING


def json_keys(text: str) -> tuple[str, ...] | None:
    found = _whole(text)
    return tuple(found) if isinstance(found, dict) else None


def json_array_length(text: str) -> int | None:
    found = _whole(text)
    return len(found) if isinstance(found, list) else None


def json_records(text: str) -> dict[str, str | None] | None:
    found = _whole(text)
    return {key: scalar_text(value) for key, value in found.items()} if isinstance(found, dict) else None


def json_items(text: str) -> tuple[str, ...] | None:
    found = _whole(text)
    return tuple(map(text_of, found)) if isinstance(found, list) else None


_PATH = (VARCHAR, VARCHAR)

REWRITTEN: tuple[Rewritten, ...] = (
    Rewritten(
        "TO_JSON",
        (),
        "TO_JSON(any)",
        "The value as JSON; a text is a string of JSON, whatever it says.",
        (("TO_JSON('[1]')", """CAST('"[1]"' AS JSON)"""),),
    ),
    Rewritten(
        "TO_JSON_STRING",
        ("JSON_STRING",),
        "TO_JSON_STRING(any)",
        "The value as the text of JSON.",
        (("TO_JSON_STRING(ARRAY[1, NULL])", "'[1,null]'"),),
    ),
    Rewritten(
        "JSON_ARRAY",
        (),
        "JSON_ARRAY(any, …)",
        "An array of the values.",
        (("JSON_ARRAY(1, 'a', NULL)", """CAST('[1,"a",null]' AS JSON)"""),),
    ),
    Rewritten(
        "JSON_OBJECT",
        (),
        "JSON_OBJECT(VARCHAR, any, …)",
        "An object of names and values by turns.",
        (("JSON_OBJECT('a', 1, 'b', TRUE)", """CAST('{"a":1,"b":true}' AS JSON)"""),),
    ),
)

FUNCTIONS: tuple[ScalarFunction, ...] = (
    one(
        "EXTRACTJSONFIELD",
        Signature(_PATH, VARCHAR, "json_field({*})", (json_field,), may_be_null=True, fails=True),
        "What is at a path, as text: a string as it is, anything else as JSON.",
        ("""EXTRACTJSONFIELD('{"a": {"b": [1, "x"]}}', '$.a.b[1]')""", "'x'"),
        ("""EXTRACTJSONFIELD('{"a": {"b": 1}}', '$.a')""", """'{"b":1}'"""),
        aliases=("JSON_EXTRACT", "JSON_EXTRACT_STRING", "GET_JSON_OBJECT"),
    ),
    one(
        "JSON_VALUE",
        Signature(_PATH, VARCHAR, "json_value({*})", (json_value,), may_be_null=True, fails=True),
        "The scalar at a path, as text; NULL where there is none.",
        ("""JSON_VALUE('{"a": [true]}', '$.a[0]')""", "'true'"),
    ),
    one(
        "JSON_QUERY",
        Signature(_PATH, JSON, "json_query({*})", (json_query,), may_be_null=True, fails=True),
        "The object or array at a path; NULL where there is none.",
        ("""JSON_QUERY('{"a": [1, 2]}', '$.a')""", "CAST('[1,2]' AS JSON)"),
    ),
    one(
        "JSON_EXISTS",
        Signature(_PATH, BOOLEAN, "json_exists({*})", (json_exists,), fails=True),
        "Whether there is anything at a path.",
        ("""JSON_EXISTS('{"a": null}', '$.a')""", "TRUE"),
        ("JSON_EXISTS('{}', '$.a')", "FALSE"),
        aliases=("JSON_PATH_EXISTS",),
    ),
    one(
        "IS_JSON_STRING",
        Signature((VARCHAR,), BOOLEAN, "is_json({0})", (is_json,)),
        "Whether a text is JSON.",
        ("IS_JSON_STRING('[1')", "FALSE"),
        ("IS_JSON_STRING('[1]')", "TRUE"),
    ),
    one(
        "JSON_KEYS",
        Signature((VARCHAR,), array_type(VARCHAR), "json_keys({0})", (json_keys,), may_be_null=True),
        "The names of an object; NULL of anything else.",
        ("""JSON_KEYS('{"a": 1, "b": 2}')""", "ARRAY['a', 'b']"),
    ),
    one(
        "JSON_RECORDS",
        Signature((VARCHAR,), map_type(VARCHAR), "json_records({0})", (json_records,), may_be_null=True),
        "An object as a MAP of texts; NULL of anything else.",
        ("""JSON_RECORDS('{"a": 1, "b": "x"}')""", "MAP('a' := '1', 'b' := 'x')"),
    ),
    one(
        "JSON_ITEMS",
        Signature((VARCHAR,), array_type(VARCHAR), "json_items({0})", (json_items,), may_be_null=True),
        "The elements of an array, each as JSON; NULL of anything else.",
        ("""JSON_ITEMS('[1, "x"]')""", """ARRAY['1', '"x"']"""),
    ),
    one(
        "JSON_ARRAY_LENGTH",
        Signature((VARCHAR,), INT, "json_array_length({0})", (json_array_length,), may_be_null=True),
        "The number of elements of an array; NULL of anything else.",
        ("JSON_ARRAY_LENGTH('[1, [2, 3]]')", "2"),
    ),
)

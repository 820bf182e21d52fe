"""The scalar functions, all of them by name. To add one, add an entry to the module of its family."""

from __future__ import annotations

from headrace.sql.functions import choices, collections, jsons, numbers, texts, times
from headrace.sql.functions.registry import ScalarFunction

FAMILIES: dict[str, tuple[ScalarFunction, ...]] = {
    "Choices": choices.FUNCTIONS,
    "Numbers": numbers.FUNCTIONS,
    "Texts": texts.FUNCTIONS,
    "Times": times.FUNCTIONS,
    "Collections": collections.FUNCTIONS,
    "JSON": jsons.FUNCTIONS,
}
FUNCTIONS: tuple[ScalarFunction, ...] = tuple(f for family in FAMILIES.values() for f in family)
BY_NAME: dict[str, ScalarFunction] = {name: f for f in FUNCTIONS for name in (f.name, *f.aliases)}
REWRITTEN = (
    *("COALESCE", "IFNULL", "NVL", "NULLIF", "IF", "MOD"),
    *("TO_JSON", "TO_JSON_STRING", "JSON_STRING", "JSON_ARRAY", "JSON_OBJECT"),
)
"""Functions that are other expressions by another name; the binder writes them out."""

"""The scalar functions, all of them by name. To add one, add an entry to the module of its family."""

from __future__ import annotations

from headrace.sql.functions import choices, collections, encodings, jsons, numbers, patterns, texts, times, urls
from headrace.sql.functions.registry import Rewritten, ScalarFunction

FAMILIES: dict[str, tuple[ScalarFunction, ...]] = {
    "Choices": choices.FUNCTIONS,
    "Numbers": numbers.FUNCTIONS,
    "Texts": texts.FUNCTIONS,
    "Patterns": patterns.FUNCTIONS,
    "Encodings": encodings.FUNCTIONS,
    "URLs": urls.FUNCTIONS,
    "Times": times.FUNCTIONS,
    "Collections": collections.FUNCTIONS,
    "JSON": jsons.FUNCTIONS,
}
FUNCTIONS: tuple[ScalarFunction, ...] = tuple(f for family in FAMILIES.values() for f in family)
BY_NAME: dict[str, ScalarFunction] = {name: f for f in FUNCTIONS for name in (f.name, *f.aliases)}
REWRITTEN_FAMILIES: dict[str, tuple[Rewritten, ...]] = {
    "Choices": choices.REWRITTEN,
    "Numbers": numbers.REWRITTEN,
    "JSON": jsons.REWRITTEN,
}
REWRITTEN: dict[str, Rewritten] = {
    name: f for family in REWRITTEN_FAMILIES.values() for f in family for name in (f.name, *f.aliases)
}

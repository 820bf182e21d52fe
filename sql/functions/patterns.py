"""Scalar functions over patterns: regular expressions as Python reads them, LIKE, SIMILAR TO."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import NoReturn

from headrace.sql.errors import RecordError
from headrace.sql.functions.registry import ScalarFunction, Signature, one
from headrace.sql.runtime import values
from headrace.sql.types import BOOLEAN, INT, VARCHAR, array_type
from headrace.sql.vocabulary import Match

Search = Callable[[str], re.Match[str] | None]

EITHER_ORDER = frozenset(("REGEXP_EXTRACT", "REGEXP_EXTRACT_ALL"))
"""Functions whose text comes first here and in Flink, and second in ksqlDB: the binder finds it."""
_REFERENCE = re.compile(r"\\(?P<group>\d)|\$(?P<dollar>\d)|\\(?P<plain>.)", re.DOTALL)
_BRACKETED = re.compile(r"\[\^?\]?[^\]]*\]")


@lru_cache(maxsize=1000)
def regular_expression(pattern: str, flags: int = 0) -> re.Pattern[str]:
    try:
        return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise RecordError("pattern", f"'{pattern}' is not a regular expression: {error}") from None


@lru_cache(maxsize=1000)
def search(pattern: str) -> Search:
    return regular_expression(pattern).search


@lru_cache(maxsize=1000)
def search_any_case(pattern: str) -> Search:
    return regular_expression(pattern, re.IGNORECASE).search


@lru_cache(maxsize=1000)
def match_like(pattern: str, escape: str | None, *, case_sensitive: bool) -> Search:
    return values.like_pattern(pattern, escape, case_sensitive=case_sensitive).fullmatch


@lru_cache(maxsize=1000)
def match_similar(pattern: str, escape: str | None) -> Search:
    """SIMILAR TO's pattern: that of LIKE, with `| * + ? { } ( ) [ ]` of regular expressions."""
    try:
        return re.compile("".join(_similar_parts(pattern, escape)), re.DOTALL).fullmatch
    except (re.error, OverflowError, RecursionError):
        raise RecordError("pattern", f"'{pattern}' is not a pattern of SIMILAR TO") from None


def _similar_parts(pattern: str, escape: str | None) -> Iterator[str]:
    place = 0
    while place < len(pattern):
        character = pattern[place]
        place += 1
        if character == escape:
            if place == len(pattern):
                raise RecordError("pattern", "a SIMILAR TO pattern cannot end with its escape character")
            yield re.escape(pattern[place])
            place += 1
        elif character == "[":
            bracketed = _BRACKETED.match(pattern, place - 1)
            if bracketed is None or "[:" in bracketed[0]:
                raise RecordError("pattern", f"'{pattern}' has a bracket that is not closed, or `[:`")
            yield bracketed[0].replace("\\", "\\\\")
            place = bracketed.end()
        else:
            yield {"%": ".*", "_": ".", "(": "(?:"}.get(character) or (
                character if character in ")|*+?{}" else re.escape(character)
            )


@lru_cache(maxsize=1000)
def match_signature(match: Match, escape: str | None) -> Signature:
    """The signature of a matching operator: equal operators have the same."""
    prepare: Callable[[str], object]
    match match:
        case Match.LIKE | Match.ILIKE:
            prepare = partial(match_like, escape=escape, case_sensitive=match is Match.LIKE)
        case Match.SIMILAR:
            prepare = partial(match_similar, escape=escape)
        case Match.REGULAR:
            prepare = search
        case Match.REGULAR_ANY_CASE:
            prepare = search_any_case
    return Signature((VARCHAR, VARCHAR), BOOLEAN, "{1}({0}) is not None", prepared=(1, prepare))


def matched(match: re.Match[str] | None, group: int = 0) -> str | None:
    """What matched, or a group of it; None where nothing did."""
    if match is None:
        return None
    try:
        return match[group]
    except IndexError:
        _no_group(group)


def _no_group(group: int) -> NoReturn:
    raise RecordError("domain", f"the regular expression has no group {group}") from None


@lru_cache(maxsize=1000)
def _replacement(new: str) -> Callable[[re.Match[str]], str]:
    """A replacement in which `\\1` (PostgreSQL) and `$1` (Java) stand for groups."""
    parts: list[str | int] = []
    end = 0
    for found in _REFERENCE.finditer(new):
        parts.append(new[end : found.start()])
        group = found["group"] or found["dollar"]
        parts.append(int(group) if group else found["plain"])
        end = found.end()
    parts.append(new[end:])

    def replaced(match: re.Match[str]) -> str:
        return "".join(part if isinstance(part, str) else matched(match, part) or "" for part in parts)

    return replaced


def replace_matches(pattern: re.Pattern[str], new: str, text: str) -> str:
    return pattern.sub(_replacement(new), text)


def replace_flagged(pattern: re.Pattern[str], new: str, flags: str, text: str) -> str:
    """As PostgreSQL: the first match, with the flag `g` all; with `i` without regard to case."""
    if set(flags) - {"g", "i"}:
        raise RecordError("domain", f"'{flags}' are no flags of REGEXP_REPLACE: 'g' and 'i' are")
    if "i" in flags:
        pattern = regular_expression(pattern.pattern, re.IGNORECASE)
    return pattern.sub(_replacement(new), text, count=0 if "g" in flags else 1)


def count_matches(pattern: re.Pattern[str], text: str) -> int:
    return sum(1 for _ in pattern.finditer(text))


def every_match(pattern: re.Pattern[str], text: str, group: int = 0) -> tuple[str | None, ...]:
    return tuple(matched(match, group) for match in pattern.finditer(text))


def groups_matched(match: re.Match[str] | None) -> tuple[str | None, ...] | None:
    """The groups, or all that matched where the pattern has none."""
    if match is None:
        return None
    return match.groups() or (match[0],)


def split_by_pattern(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    """As PostgreSQL: an empty match cuts only between characters."""
    parts: list[str] = []
    start = 0
    for match in pattern.finditer(text):
        if match[0] or start < match.start() < len(text):
            parts.append(text[start : match.start()])
            start = match.end()
    return (*parts, text[start:])


_TEXTS = (VARCHAR, VARCHAR)

FUNCTIONS: tuple[ScalarFunction, ...] = (
    one(
        "REGEXP_LIKE",
        match_signature(Match.REGULAR, None),
        "Whether the regular expression occurs in the text; the same as `text ~ pattern`.",
        ("REGEXP_LIKE('stream', 'r.a')", "TRUE"),
        ("REGEXP_LIKE('stream', '^r')", "FALSE"),
        aliases=("REGEXP",),
    ),
    ScalarFunction(
        "REGEXP_EXTRACT",
        (),
        (
            Signature(_TEXTS, VARCHAR, "matched({1}({0}))", (matched,), may_be_null=True, prepared=(1, search)),
            Signature(
                (*_TEXTS, "integer"),
                VARCHAR,
                "matched({1}({0}), {2})",
                (matched,),
                may_be_null=True,
                fails=True,
                prepared=(1, search),
            ),
        ),
        "The first occurrence of the regular expression in the text, or one of its groups; NULL where there is none. "
        "ksqlDB's order, with the text second, is understood where only the first operand is constant.",
        (
            ("REGEXP_EXTRACT('order 17 of 20', '[0-9]+')", "'17'"),
            ("REGEXP_EXTRACT('order 17 of 20', '([0-9]+) of ([0-9]+)', 2)", "'20'"),
            ("REGEXP_EXTRACT('order', '[0-9]+')", "CAST(NULL AS VARCHAR)"),
        ),
    ),
    ScalarFunction(
        "REGEXP_REPLACE",
        (),
        (
            Signature(
                (*_TEXTS, VARCHAR),
                VARCHAR,
                "replace_matches({1}, {2}, {0})",
                (replace_matches,),
                fails=True,
                prepared=(1, regular_expression),
            ),
            Signature(
                (*_TEXTS, VARCHAR, VARCHAR),
                VARCHAR,
                "replace_flagged({1}, {2}, {3}, {0})",
                (replace_flagged,),
                fails=True,
                prepared=(1, regular_expression),
            ),
        ),
        r"The text with every occurrence of the regular expression replaced. `\1` or `$1` stands for its first group, "
        r"`\\` and `\$` for the characters. With flags as in PostgreSQL: without `g` the first occurrence only, `i` "
        r"for any case.",
        (
            ("REGEXP_REPLACE('foobar', 'oo|ar', '')", "'fb'"),
            ("REGEXP_REPLACE('2026-01-05', '(.*)-(.*)-(.*)', '$3.$2.$1')", "'05.01.2026'"),
            ("REGEXP_REPLACE('Abab', 'a', 'x', 'i')", "'xbab'"),
        ),
    ),
    ScalarFunction(
        "REGEXP_EXTRACT_ALL",
        (),
        (
            Signature(
                _TEXTS, array_type(VARCHAR), "every_match({1}, {0})", (every_match,), prepared=(1, regular_expression)
            ),
            Signature(
                (*_TEXTS, "integer"),
                array_type(VARCHAR),
                "every_match({1}, {0}, {2})",
                (every_match,),
                fails=True,
                prepared=(1, regular_expression),
            ),
        ),
        "Every occurrence of the regular expression, or a group of each; the operands as those of REGEXP_EXTRACT.",
        (
            ("REGEXP_EXTRACT_ALL('a1b22', '[0-9]+')", "ARRAY['1', '22']"),
            ("REGEXP_EXTRACT_ALL('a1b22', '([a-z])([0-9]+)', 1)", "ARRAY['a', 'b']"),
        ),
    ),
    one(
        "REGEXP_MATCH",
        Signature(
            _TEXTS,
            array_type(VARCHAR),
            "groups_matched({1}({0}))",
            (groups_matched,),
            may_be_null=True,
            prepared=(1, search),
        ),
        "The groups of the first occurrence of the regular expression, or all of it where it has none; NULL where it "
        "does not occur, as in PostgreSQL.",
        ("REGEXP_MATCH('k=v', '(.*)=(.*)')", "ARRAY['k', 'v']"),
    ),
    one(
        "REGEXP_SPLIT_TO_ARRAY",
        Signature(
            _TEXTS,
            array_type(VARCHAR),
            "split_by_pattern({1}, {0})",
            (split_by_pattern,),
            prepared=(1, regular_expression),
        ),
        "The parts of the text between the occurrences of the regular expression.",
        ("REGEXP_SPLIT_TO_ARRAY('a1b22c', '[0-9]+')", "ARRAY['a', 'b', 'c']"),
    ),
    one(
        "REGEXP_COUNT",
        Signature(_TEXTS, INT, "count_matches({1}, {0})", (count_matches,), prepared=(1, regular_expression)),
        "How often the regular expression occurs in the text.",
        ("REGEXP_COUNT('banana', 'an')", "2"),
    ),
)

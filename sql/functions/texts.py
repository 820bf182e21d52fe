"""Scalar functions over texts."""

from __future__ import annotations

from headrace.sql.errors import RecordError
from headrace.sql.functions.registry import ScalarFunction, Signature, one
from headrace.sql.types import INT, VARCHAR


def substring(text: str, start: int, length: int | None = None) -> str:
    """Characters from `start` (the first is 1); positions before the text count, as in PostgreSQL."""
    end = None if length is None else start - 1 + length
    if length is not None and length < 0:
        raise RecordError("domain", "negative length in SUBSTRING")
    return text[max(start - 1, 0) : None if end is None else max(end, 0)]


def left(text: str, count: int) -> str:
    return text[:count]


def right(text: str, count: int) -> str:
    if count < 0:
        return text[-count:]
    return text[-count:] if count else ""


def replace_text(text: str, old: str, new: str) -> str:
    return text.replace(old, new) if old else text


_TEXT = (VARCHAR,)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    one(
        "UPPER",
        Signature(_TEXT, VARCHAR, "{0}.upper()"),
        "The text in upper case.",
        ("UPPER('abc')", "'ABC'"),
        aliases=("UCASE",),
    ),
    one(
        "LOWER",
        Signature(_TEXT, VARCHAR, "{0}.lower()"),
        "The text in lower case.",
        ("LOWER('ABC')", "'abc'"),
        aliases=("LCASE",),
    ),
    one(
        "LENGTH",
        Signature(_TEXT, INT, "len({0})"),
        "The number of characters.",
        ("LENGTH('häuser')", "6"),
        aliases=("LEN", "CHAR_LENGTH", "CHARACTER_LENGTH"),
    ),
    one(
        "CONCAT",
        Signature(_TEXT, VARCHAR, "''.join(({*}))", variadic=True),
        "The texts one after the other; NULL where one is NULL.",
        ("CONCAT('a', 'b', 'c')", "'abc'"),
    ),
    one(
        "SUBSTRING",
        Signature((VARCHAR, "integer", "integer"), VARCHAR, "substring({*})", (substring,), optional=1, fails=True),
        "Characters from a position (the first is 1), all of them or a number of them.",
        ("SUBSTRING('stream', 2, 3)", "'tre'"),
        ("SUBSTRING('stream' FROM 4)", "'eam'"),
        aliases=("SUBSTR",),
    ),
    one(
        "LEFT",
        Signature((VARCHAR, "integer"), VARCHAR, "left({0}, {1})", (left,)),
        "The first characters; a negative number leaves that many out at the end.",
        ("LEFT('stream', 2)", "'st'"),
    ),
    one(
        "RIGHT",
        Signature((VARCHAR, "integer"), VARCHAR, "right({0}, {1})", (right,)),
        "The last characters; a negative number leaves that many out at the start.",
        ("RIGHT('stream', 2)", "'am'"),
    ),
    one("TRIM", Signature(_TEXT, VARCHAR, "{0}.strip(' ')"), "Without spaces at both ends.", ("TRIM('  a ')", "'a'")),
    one(
        "LTRIM",
        Signature(_TEXT, VARCHAR, "{0}.lstrip(' ')"),
        "Without spaces at the start.",
        ("LTRIM('  a')", "'a'"),
    ),
    one("RTRIM", Signature(_TEXT, VARCHAR, "{0}.rstrip(' ')"), "Without spaces at the end.", ("RTRIM('a  ')", "'a'")),
    one(
        "REPLACE",
        Signature((VARCHAR, VARCHAR, VARCHAR), VARCHAR, "replace_text({*})", (replace_text,)),
        "Every occurrence of the second text in the first, replaced by the third.",
        ("REPLACE('banana', 'an', '-')", "'b--a'"),
    ),
    one(
        "POSITION",
        Signature((VARCHAR, VARCHAR), INT, "({0}.find({1}) + 1)"),
        "Where the second text starts in the first (the first character is 1); 0 where it does not occur.",
        ("INSTR('stream', 'ea')", "4"),
        ("POSITION('ea' IN 'stream')", "4"),
        aliases=("INSTR",),
    ),
)

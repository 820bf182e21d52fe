"""Scalar functions over texts (some of them over bytes too)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from headrace.sql.errors import RecordError
from headrace.sql.functions.registry import ScalarFunction, Signature, one
from headrace.sql.types import BOOLEAN, BYTES, INT, VARCHAR, array_type

T = TypeVar("T", str, bytes)

MAX_LENGTH = 2**24
"""Characters of a text that REPEAT, LPAD and RPAD make at most."""
_WORD = re.compile(r"[^\W_]+")


def substring(text: T, start: int, length: int | None = None) -> T:
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


def join_texts(separator: str | None, *texts: str | None) -> str | None:
    """The texts that are not NULL."""
    return None if separator is None else separator.join([text for text in texts if text is not None])


def repeat(text: str, count: int) -> str:
    return text * _checked_length(count, len(text), "REPEAT")


def _checked_length(count: int, size: int, function: str) -> int:
    if count * size > MAX_LENGTH:
        raise RecordError("domain", f"{function} makes no text of more than {MAX_LENGTH} characters")
    return max(count, 0)


def pad_left(text: str, length: int, fill: str = " ") -> str:
    missing = _checked_length(length, 1, "LPAD") - len(text)
    return _filling(fill, missing) + text if missing > 0 else text[: max(length, 0)]


def pad_right(text: str, length: int, fill: str = " ") -> str:
    missing = _checked_length(length, 1, "RPAD") - len(text)
    return text + _filling(fill, missing) if missing > 0 else text[: max(length, 0)]


def _filling(fill: str, length: int) -> str:
    return (fill * (length // len(fill) + 1))[:length] if fill else ""


def capitalize_words(text: str) -> str:
    return _WORD.sub(lambda word: word[0].capitalize(), text)


def find_from(text: str, part: str, position: int, occurrence: int = 1) -> int:
    """Where `part` is, from 1, or 0. From the end, and to the left, where the position is negative, as in ksqlDB."""
    if position == 0 or occurrence < 1 or abs(position) > len(text):
        return 0
    start, end = position - 1, len(text) + position + 1
    for _ in range(occurrence):
        found = text.find(part, start) if position > 0 else text.rfind(part, 0, end)
        if found < 0:
            return 0
        start, end = found + 1, max(found + len(part) - 1, 0)
    return found + 1


def locate(part: str, text: str, position: int = 1) -> int:
    return text.find(part, position - 1) + 1 if position > 0 else 0


def split_part(text: str, separator: str, number: int) -> str:
    """The part with a number from 1, or from -1 at the end; an empty text where there is none, as in PostgreSQL."""
    if number == 0:
        raise RecordError("domain", "the parts of SPLIT_PART are counted from 1, or from the end from -1")
    parts = text.split(separator) if separator else [text]
    index = number - 1 if number > 0 else len(parts) + number
    return parts[index] if 0 <= index < len(parts) else ""


def split_index(text: str, separator: str, index: int) -> str | None:
    parts = text.split(separator) if separator else [text]
    return parts[index] if 0 <= index < len(parts) else None


def split(text: str, separator: str) -> tuple[str, ...]:
    return tuple(text.split(separator) if separator else text)


@lru_cache(maxsize=1000)
def _translation(old: str, new: str) -> dict[int, str | None]:
    pairs = [(character, new[place] if place < len(new) else None) for place, character in enumerate(old)]
    return {ord(character): replacement for character, replacement in reversed(pairs)}  # the first one counts


def translate(text: str, old: str, new: str) -> str:
    return text.translate(_translation(old, new))


def character(code: int) -> str:
    if not 0 < code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise RecordError("domain", f"{code} is not the code of a character")
    return chr(code)


def code_of(text: str) -> int:
    return ord(text[0]) if text else 0


def overlay(text: str, new: str, start: int, length: int | None = None) -> str:
    if start < 1:
        raise RecordError("domain", "OVERLAY begins at a position from 1")
    end = start - 1 + (len(new) if length is None else length)
    return text[: start - 1] + new + text[max(end, 0) :]


class _Masks(dict[int, str]):
    """What stands for each character of a masked text, found when it is first met."""

    def __init__(self, upper: str | None, lower: str | None, digit: str | None, other: str | None) -> None:
        super().__init__()
        for mask in (upper, lower, digit, other):
            if mask is not None and len(mask) != 1:
                raise RecordError("domain", f"'{mask}' is not one character to mask with")
        self._by_category = {"Lu": upper, "Ll": lower, "Nd": digit}
        self._other = other

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = self._by_category.get(unicodedata.category(character), self._other) or character
        return self[code]


_masks = lru_cache(maxsize=100)(_Masks)
Mask = str | None


def mask(text: str | None, upper: Mask = "X", lower: Mask = "x", digit: Mask = "n", other: Mask = "-") -> str | None:
    """A character of each kind instead of the text's own; None leaves that kind as it is."""
    return None if text is None else text.translate(_masks(upper, lower, digit, other))


def mask_left(text: str | None, count: int | None, *masks: Mask) -> str | None:
    if text is None or count is None:
        return None
    end = _checked_count(count)
    return f"{mask(text[:end], *masks)}{text[end:]}"


def mask_right(text: str | None, count: int | None, *masks: Mask) -> str | None:
    if text is None or count is None:
        return None
    start = max(len(text) - _checked_count(count), 0)
    return f"{text[:start]}{mask(text[start:], *masks)}"


def mask_keep_left(text: str | None, count: int | None, *masks: Mask) -> str | None:
    if text is None or count is None:
        return None
    end = _checked_count(count)
    return f"{text[:end]}{mask(text[end:], *masks)}"


def mask_keep_right(text: str | None, count: int | None, *masks: Mask) -> str | None:
    if text is None or count is None:
        return None
    start = max(len(text) - _checked_count(count), 0)
    return f"{mask(text[:start], *masks)}{text[start:]}"


def _checked_count(count: int) -> int:
    if count < 0:
        raise RecordError("domain", "a negative number of characters to mask")
    return count


_TEXT = (VARCHAR,)
_TEXTS = (VARCHAR, VARCHAR)
_MASKS = (VARCHAR, VARCHAR, VARCHAR, VARCHAR)


def _part_masked(function: Callable[..., str | None], doc: str, *examples: tuple[str, str]) -> ScalarFunction:
    """One of the functions that mask a part of a text."""
    template = f"{function.__name__}({{*}})"
    signatures = (
        Signature((VARCHAR, "integer"), VARCHAR, template, (function,), fails=True),
        Signature(
            (VARCHAR, "integer", *_MASKS), VARCHAR, template, (function,), sees_null=True, may_be_null=True, fails=True
        ),
    )
    return ScalarFunction(function.__name__.upper(), (), signatures, doc, examples)


def _trimming(name: str, method: str, where: str, *examples: tuple[str, str]) -> ScalarFunction:
    signatures = (
        Signature(_TEXT, VARCHAR, f"{{0}}.{method}(' ')"),
        Signature(_TEXTS, VARCHAR, f"{{0}}.{method}({{1}})"),
    )
    doc = f"Without spaces at {where}, or without those characters that are in the second operand."
    return ScalarFunction(name, ("BTRIM",) if name == "TRIM" else (), signatures, doc, examples)


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
    ScalarFunction(
        "LENGTH",
        ("LEN", "CHAR_LENGTH", "CHARACTER_LENGTH"),
        (Signature(_TEXT, INT, "len({0})"), Signature((BYTES,), INT, "len({0})")),
        "The number of characters of a text, or of bytes.",
        (("LENGTH('häuser')", "6"),),
    ),
    ScalarFunction(
        "OCTET_LENGTH",
        (),
        (Signature(_TEXT, INT, "len({0}.encode())"), Signature((BYTES,), INT, "len({0})")),
        "The number of bytes, of a text in UTF-8.",
        (("OCTET_LENGTH('häuser')", "7"),),
    ),
    ScalarFunction(
        "CONCAT",
        (),
        (
            Signature(_TEXT, VARCHAR, "''.join(({*}))", variadic=True),
            Signature((BYTES,), BYTES, "b''.join(({*}))", variadic=True),
        ),
        "The texts one after the other; NULL where one is NULL.",
        (("CONCAT('a', 'b', 'c')", "'abc'"), ("CONCAT('a', NULL)", "CAST(NULL AS VARCHAR)")),
    ),
    one(
        "CONCAT_WS",
        Signature(_TEXTS, VARCHAR, "join_texts({*})", (join_texts,), variadic=True, sees_null=True, may_be_null=True),
        "The texts that are not NULL, with the first operand between them.",
        ("CONCAT_WS(', ', 'a', NULL, 'c')", "'a, c'"),
    ),
    ScalarFunction(
        "SUBSTRING",
        ("SUBSTR",),
        (
            Signature((VARCHAR, "integer", "integer"), VARCHAR, "substring({*})", (substring,), optional=1, fails=True),
            Signature((BYTES, "integer", "integer"), BYTES, "substring({*})", (substring,), optional=1, fails=True),
        ),
        "Characters (or bytes) from a position (the first is 1), all of them or a number of them.",
        (("SUBSTRING('stream', 2, 3)", "'tre'"), ("SUBSTRING('stream' FROM 4)", "'eam'")),
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
    _trimming("TRIM", "strip", "both ends", ("TRIM('  a ')", "'a'"), ("TRIM(BOTH 'x' FROM 'xax')", "'a'")),
    _trimming("LTRIM", "lstrip", "the start", ("LTRIM('  a')", "'a'"), ("LTRIM('xyax', 'yx')", "'ax'")),
    _trimming("RTRIM", "rstrip", "the end", ("RTRIM('a  ')", "'a'"), ("RTRIM('xayx', 'yx')", "'xa'")),
    one(
        "LPAD",
        Signature((VARCHAR, "integer", VARCHAR), VARCHAR, "pad_left({*})", (pad_left,), optional=1, fails=True),
        "The text filled at the start to a length, with spaces or another text; cut where it is longer.",
        ("LPAD('7', 3, '0')", "'007'"),
        ("LPAD('stream', 3)", "'str'"),
    ),
    one(
        "RPAD",
        Signature((VARCHAR, "integer", VARCHAR), VARCHAR, "pad_right({*})", (pad_right,), optional=1, fails=True),
        "The text filled at the end to a length, with spaces or another text; cut where it is longer.",
        ("RPAD('ab', 5, 'xy')", "'abxyx'"),
    ),
    one(
        "REPEAT",
        Signature((VARCHAR, "integer"), VARCHAR, "repeat({0}, {1})", (repeat,), fails=True),
        "The text so many times.",
        ("REPEAT('ab', 3)", "'ababab'"),
    ),
    one(
        "REVERSE",
        Signature(_TEXT, VARCHAR, "{0}[::-1]"),
        "The characters from the last to the first.",
        ("REVERSE('abc')", "'cba'"),
    ),
    one(
        "INITCAP",
        Signature(_TEXT, VARCHAR, "capitalize_words({0})", (capitalize_words,)),
        "Every word with a capital letter first and small ones behind; words are of letters and digits.",
        ("INITCAP('new york-CITY')", "'New York-City'"),
    ),
    one(
        "REPLACE",
        Signature((VARCHAR, VARCHAR, VARCHAR), VARCHAR, "replace_text({*})", (replace_text,)),
        "Every occurrence of the second text in the first, replaced by the third.",
        ("REPLACE('banana', 'an', '-')", "'b--a'"),
    ),
    one(
        "TRANSLATE",
        Signature((VARCHAR, VARCHAR, VARCHAR), VARCHAR, "translate({*})", (translate,)),
        "Each character that is in the second text, replaced by the one at the same place of the third, or left out "
        "where that is shorter.",
        ("TRANSLATE('a-b-c', 'abc-', 'ABC')", "'ABC'"),
    ),
    one(
        "OVERLAY",
        Signature(
            (VARCHAR, VARCHAR, "integer", "integer"), VARCHAR, "overlay({*})", (overlay,), optional=1, fails=True
        ),
        "The text with another one in the place of its characters from a position; of as many, or of a number of them.",
        ("OVERLAY('stream', 'XX', 2)", "'sXXeam'"),
        ("OVERLAY('stream' PLACING 'XX' FROM 2 FOR 4)", "'sXXm'"),
    ),
    ScalarFunction(
        "INSTR",
        ("STRPOS",),
        (
            Signature(_TEXTS, INT, "({0}.find({1}) + 1)"),
            Signature((VARCHAR, VARCHAR, "integer", "integer"), INT, "find_from({*})", (find_from,), optional=1),
        ),
        "Where the second text starts in the first (the first character is 1); 0 where it does not occur. A third "
        "operand is where to begin (from the end and to the left, if negative), a fourth how often it must occur.",
        (
            ("INSTR('stream', 'ea')", "4"),
            ("INSTR('corporate floor', 'or', 3, 2)", "14"),
            ("INSTR('corporate floor', 'or', -3)", "5"),
        ),
    ),
    one(
        "LOCATE",
        Signature((VARCHAR, VARCHAR, "integer"), INT, "locate({*})", (locate,), optional=1),
        "Where the first text starts in the second, from a position on, as INSTR with its operands "
        "exchanged. `POSITION(a IN b)` is the same.",
        ("LOCATE('ea', 'stream')", "4"),
        ("LOCATE('a', 'banana', 3)", "4"),
        ("POSITION('ea' IN 'stream')", "4"),
        aliases=("POSITION",),
    ),
    one(
        "STARTSWITH",
        Signature(_TEXTS, BOOLEAN, "{0}.startswith({1})"),
        "Whether the first text starts with the second.",
        ("STARTSWITH('stream', 'str')", "TRUE"),
        aliases=("STARTS_WITH",),
    ),
    one(
        "ENDSWITH",
        Signature(_TEXTS, BOOLEAN, "{0}.endswith({1})"),
        "Whether the first text ends with the second.",
        ("ENDSWITH('stream', 'str')", "FALSE"),
        aliases=("ENDS_WITH",),
    ),
    one(
        "SPLIT_PART",
        Signature((VARCHAR, VARCHAR, "integer"), VARCHAR, "split_part({*})", (split_part,), fails=True),
        "The part with a number (from 1; from the end from -1) of the text cut at every occurrence of the second; an "
        "empty text where there is none, as in PostgreSQL.",
        ("SPLIT_PART('a/b/c', '/', 2)", "'b'"),
        ("SPLIT_PART('a/b/c', '/', -1)", "'c'"),
    ),
    one(
        "SPLIT_INDEX",
        Signature((VARCHAR, VARCHAR, "integer"), VARCHAR, "split_index({*})", (split_index,), may_be_null=True),
        "The part with a number from 0 of the text cut at every occurrence of the second; NULL where there is none, as "
        "in Flink.",
        ("SPLIT_INDEX('a/b/c', '/', 2)", "'c'"),
        ("SPLIT_INDEX('a/b/c', '/', 3)", "CAST(NULL AS VARCHAR)"),
    ),
    one(
        "SPLIT",
        Signature(_TEXTS, array_type(VARCHAR), "split({0}, {1})", (split,)),
        "The parts of the text between the occurrences of the second; its characters where that is empty.",
        ("SPLIT('a,b,,c', ',')", "ARRAY['a', 'b', '', 'c']"),
    ),
    one(
        "CHR",
        Signature(("integer",), VARCHAR, "character({0})", (character,), fails=True),
        "The character with a code of Unicode.",
        ("CHR(228)", "'ä'"),
    ),
    one(
        "ASCII",
        Signature(_TEXT, INT, "code_of({0})", (code_of,)),
        "The code of the first character in Unicode; 0 for an empty text.",
        ("ASCII('äh')", "228"),
    ),
    ScalarFunction(
        "MASK",
        (),
        (
            Signature(_TEXT, VARCHAR, "mask({0})", (mask,)),
            Signature((VARCHAR, *_MASKS), VARCHAR, "mask({*})", (mask,), sees_null=True, may_be_null=True, fails=True),
        ),
        "The text with `X` for every capital letter, `x` for every small one, `n` for every digit, `-` for everything "
        "else; or with four other characters, of which NULL leaves the text's own.",
        (("MASK('My Test $123')", "'Xx-Xxxx--nnn'"), ("MASK('My Test $123', '*', NULL, '1', NULL)", "'*y *est $111'")),
    ),
    _part_masked(
        mask_left,
        "MASK for the first characters, a number of them.",
        ("MASK_LEFT('My Test $123', 4)", "'Xx-Xest $123'"),
    ),
    _part_masked(
        mask_right,
        "MASK for the last characters, a number of them.",
        ("MASK_RIGHT('My Test $123', 4)", "'My Test -nnn'"),
    ),
    _part_masked(
        mask_keep_left,
        "MASK for all but the first characters.",
        ("MASK_KEEP_LEFT('My Test $123', 4)", "'My Txxx--nnn'"),
        ("MASK_KEEP_LEFT('ab12', 1, NULL, '*', '#', NULL)", "'a*##'"),
    ),
    _part_masked(
        mask_keep_right,
        "MASK for all but the last characters.",
        ("MASK_KEEP_RIGHT('My Test $123', 4)", "'Xx-Xxxx-$123'"),
    ),
)

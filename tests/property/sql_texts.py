"""SQL texts to be changed at random, and the changes: what the parser is fuzzed with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
_MOST_CHARACTERS = 4_000
_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\w+|\s+|<>|<=|>=|!=|\|\||::|->>?|=>|.", re.DOTALL
)
_BLOCK = re.compile(r"^```sql[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


@cache
def corpus() -> tuple[tuple[str, ...], ...]:
    """Every text of the goldens, the public suites and the docs, as tokens; spaces are tokens too."""
    texts = dict.fromkeys(text for text in _texts() if len(text) <= _MOST_CHARACTERS)
    assert len(texts) > 100
    return tuple(tuple(_TOKEN.findall(text)) for text in texts)


def _texts() -> Iterable[str]:
    for folder in ("tests/golden", "examples"):
        for path in sorted((ROOT / folder).rglob("*.sql")):
            text = path.read_text(encoding="utf-8")
            yield text
            if path.parent.name == "errors":  # a mistake a line: each behind the declarations of the file
                declared = "\n".join(re.findall(r"^CREATE [^\n]*\);$", text, re.MULTILINE))
                yield from (f"{declared}\n{line}" for line in text.splitlines() if not line.startswith("--"))
    for path in sorted((ROOT / "tests/golden/suites").glob("*/cases.jsonl")):
        for line in path.read_bytes().splitlines():
            statements: list[str] = msgspec.json.decode(line)["statements"]
            yield "\n".join(f"{text.strip().removesuffix(';')};" for text in statements)
    for path in sorted((ROOT / "tests/golden/records").glob("*.json")):
        for case in json.loads(path.read_bytes()):
            yield "\n".join(case["statements"])
    for path in sorted((ROOT / "docs").glob("*.md")):
        yield from _BLOCK.findall(path.read_text(encoding="utf-8"))


@cache
def words() -> tuple[str, ...]:
    """The different tokens of the corpus."""
    return tuple(dict.fromkeys(token for tokens in corpus() for token in tokens if not token.isspace()))


ODD = (
    *("\0", "\ud800", "\u200d", "\u202e", "\ufeff", "\xa0", "\u2028", "é", "İ", "ß", "ﬁ", "𝒳", "日本", "😀", "e\u0301"),
    *("'", '"', "`", "''", "'''", "--", "/*", "*/", "//", "\\", "\\'", "$$", "$1", "$tag$", "?", "@", "@@a", ":a", "#"),
    *(
        "{{",
        "}}",
        "{%",
        "{d '1'}",
        "%s",
        "&",
        "|",
        "^",
        "~",
        "!",
        "??",
        "<=>",
        ":=",
        "=>",
        "->",
        "->>",
        "#>",
        "@>",
        "...",
    ),
    *("0x1F", "0b1", "1e400", "1e-400", "1e9999999999", "1_000", ".5", "5.", "1.2.3", "00", "-0", "9" * 400, "NaN"),
    *("0." + "1" * 50, "'" + "x" * 5_000 + "'", "a" * 5_000, "INTERVAL '9999999999999' DAY", "INTERVAL '1' MONTH"),
    *("E'\\x'", "N'a'", "X'ff'", "B'1'", "U&'a'", "DATE '2013-02-30'", "TIMESTAMP 'x'", "'2013-01-05'", "'a\0b'"),
    *("'+262142-12-31'", "'-1'", "'٣'", "'1_0'", "' 1 '", "'∞'", "'yyyy-MM-dd'", "'%'", "'_'", "'!'", "''::INT"),
    *("(" * 40, ")" * 40, "NOT " * 40, "- " * 40, "CASE " * 40, "::VARCHAR::BIGINT" * 40, "+ 1" * 160, "[1]" * 40),
    *("ARRAY<" * 20, "(SELECT * FROM " * 40, " AND b" * 200, ", n" * 300, "MAP[", "ROW(", "STRUCT(", "ARRAY[", "=> x"),
    *("SELECT", "FROM", "WHERE", "GROUP BY", "HAVING", "WINDOW", "EMIT", "UNION ALL", "EXCEPT", "JOIN", "LATERAL"),
    *("UNNEST", "QUALIFY", "PIVOT", "TABLESAMPLE", "FOR UPDATE", "INTO", "VALUES", "RETURNING", "WITH", "RECURSIVE"),
    *("FILTER (WHERE b)", "WITHIN GROUP (ORDER BY n)", "IGNORE NULLS", "OVER ()", "OVER w", "DISTINCT", "ALL", "ANY("),
    *(
        "AT TIME ZONE",
        "COLLATE",
        "ESCAPE",
        "SIMILAR TO",
        "SYMMETRIC",
        "IS JSON",
        "OVERLAPS",
        "BEGIN",
        "END",
        "GO",
        "DO",
    ),
    *("CURRENT_DATE", "CURRENT_TIMESTAMP", "NEXT VALUE FOR", "PRIOR", "CONNECT BY", "START WITH", "MATCH_RECOGNIZE ("),
    *("CONVERT(", "CAST(", "TRY_CAST(", "EXTRACT(", "TRIM(BOTH", "SUBSTRING(", "POSITION(", "OVERLAY(", "XMLTABLE("),
    *("JSON_TABLE(", "JSON_OBJECT(", "STRING_AGG(", "GROUP_CONCAT(", "DECODE(", "MATCH(", "OPENJSON(", "PREDICT("),
)
"""What stands in no text of the corpus, or is known to be hard to read."""


@st.composite
def changed_texts(draw: st.DrawFn) -> str:
    """A text of the corpus with some tokens taken out, doubled, exchanged, moved, cut, or put in."""
    tokens = list(draw(st.sampled_from(corpus())))
    new = st.one_of(st.sampled_from(words()), st.sampled_from(words()), st.sampled_from(ODD), st.text(max_size=3))
    for _ in range(draw(st.integers(1, 5))):
        if not tokens:
            break
        place = draw(st.integers(0, len(tokens) - 1))
        other = draw(st.integers(0, len(tokens) - 1))
        match draw(
            st.sampled_from(("drop", "cut", "double", "swap", "put", "put", "replace", "replace", "copy", "into"))
        ):
            case "drop":
                del tokens[place]
            case "cut":
                del tokens[min(place, other) : max(place, other)]
            case "double":
                tokens.insert(place, tokens[place])
            case "swap":
                tokens[place], tokens[other] = tokens[other], tokens[place]
            case "put":
                tokens.insert(place, f" {draw(new)} ")
            case "replace":
                tokens[place] = draw(new)
            case "copy":
                low, high = sorted((place, other))
                tokens[place:place] = tokens[low : min(high, low + 30)]
            case _:
                cut = draw(st.integers(0, len(tokens[place])))
                tokens[place] = tokens[place][:cut] + draw(new) + tokens[place][cut:]
    return "".join(tokens)

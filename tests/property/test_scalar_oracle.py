"""Scalar functions against DuckDB over random texts and numbers, where both have them and mean the same.

Written in another way for DuckDB is what it calls otherwise, and where it does not give NULL: a REGEXP_EXTRACT that
finds nothing, a NULL to split by.
"""

from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import quote_plus

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.app.application import App
from headrace.sql.functions import urls

COLUMNS = ("id", "s", "p", "q", "n", "i", "x", "y", "d")
DECLARED = "id INT, s VARCHAR, p VARCHAR, q VARCHAR, n INT, i BIGINT, x DOUBLE, y DOUBLE, d DECIMAL(10, 3)"
TEXTS = st.text("abAB01 -_%äé", max_size=8)
SHORT = st.text("ab0 ä", max_size=2)
NUMBERS = st.integers(-(10**6), 10**6).map(lambda number: number / 1000)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "s": st.none() | TEXTS,
            "p": st.none() | SHORT,
            "q": st.none() | SHORT,
            "n": st.none() | st.integers(-6, 12),
            "i": st.none() | st.integers(-(2**63), 2**63 - 1),
            "x": st.none() | NUMBERS,
            "y": st.none() | NUMBERS,
            "d": st.none() | NUMBERS,
        }
    ),
    min_size=5,
    max_size=20,
)

SAME = (
    *("REVERSE(s)", "REPEAT(s, n)", "LPAD(s, n, p || '*')", "RPAD(s, n, '*' || p)", "TRIM(s, p)", "LTRIM(s, p)"),
    *(
        "RTRIM(s, p)",
        "SPLIT_PART(s, p || 'a', 2)",
        "SPLIT_PART(s, 'a', -1)",
        "STARTS_WITH(s, p)",
        "TRANSLATE(s, 'aäb', q)",
    ),
    *("ASCII(s)", "CHR(n + 200)", "INSTR(s, p)", "STRPOS(s, p)", "CONCAT_WS(p, s, q)", "POSITION(p IN s)"),
    *("s LIKE p || '%'", "s NOT LIKE '%' || p", "s ILIKE '%' || p || '%'", "s LIKE p || '!_%' ESCAPE '!'"),
    *("REGEXP_EXTRACT_ALL(s, '([ab])([01])', 2)", "REGEXP_SPLIT_TO_ARRAY(s, '[01]')", "LENGTH(s)"),
    *("MD5(s)", "SHA1(s)", "SHA256(s)", "HEX(s)", "HEX(i)", "LEFT(s, n)", "RIGHT(s, n)", "SUBSTRING(s, ABS(n))"),
    *("TRUNC(x)", "TRUNC(d, 1)", "CEIL(d)", "FLOOR(d)", "ROUND(d, 1)", "CBRT(x)", "SIGN(x)", "LOG(ABS(x) + 1)"),
    *("LOG10(ABS(x) + 1)", "LOG2(ABS(x) + 1)", "LOG(2, ABS(x) + 1)", "LN(ABS(x) + 1)", "DEGREES(x)", "RADIANS(x)"),
    *("SIN(x)", "COS(x)", "TAN(x)", "ASIN(x / 1000)", "ACOS(x / 1000)", "ATAN(x)", "ATAN2(x, y)", "SINH(x / 10)"),
    *("COSH(x / 10)", "TANH(x)", "COT(x + 1E-9)", "GREATEST(x, y)", "PI()"),
)
OTHERWISE = {
    "SPLIT(s, p)": "CASE WHEN p IS NOT NULL THEN string_split(s, p) END",
    "ENDS_WITH(s, p)": "suffix(s, p)",
    "LOCATE(p, s)": "instr(s, p)",
    "BTRIM(s)": "trim(s)",
    "REGEXP_LIKE(s, '^[a-b]+0?')": "regexp_matches(s, '^[a-b]+0?')",
    "s ~* 'ab?'": "regexp_matches(s, 'ab?', 'i')",
    "s !~ '[ä-é]'": "NOT regexp_matches(s, '[ä-é]')",
    "s SIMILAR TO '(a|b)%0?'": "regexp_full_match(s, '(a|b)(.|\\n)*0?')",
    "s SIMILAR TO '_[0-9b]+'": "regexp_full_match(s, '.[0-9b]+')",
    "REGEXP_EXTRACT(s, '([ab])([01])', 2)": "nullif(regexp_extract(s, '([ab])([01])', 2), '')",
    "REGEXP_REPLACE(s, '(a+)', '<$1>')": "regexp_replace(s, '(a+)', '<\\1>', 'g')",
    "REGEXP_REPLACE(s, 'A', p, 'i')": "regexp_replace(s, 'A', p, 'i')",
    "REGEXP_COUNT(s, 'a.')": "len(regexp_extract_all(s, 'a.'))",
    "TO_BASE64(s)": "to_base64(encode(s))",
    "FROM_BASE64(TO_BASE64(s))": "s",
    "FROM_BYTES(TO_BYTES(HEX(s), 'hex'), 'utf8')": "s",
    "OCTET_LENGTH(s)": "octet_length(encode(s))",
    "MOD(i, 7)": "i % 7",
    "TO_HEX(i)": "lower(hex(i))",
    "GEO_DISTANCE(x / 20, y / 10, 10, 20)": (
        "2 * 6371 * asin(least(1, sqrt(sin(radians(10 - x / 20) / 2) ** 2"
        " + cos(radians(x / 20)) * cos(radians(10)) * sin(radians(20 - y / 10) / 2) ** 2))) + 0 * x * y"
    ),
    "x BETWEEN SYMMETRIC y AND 0": "x BETWEEN y AND 0 OR x BETWEEN 0 AND y",
    "IS_DISTINCT_FROM(p, q)": "p IS DISTINCT FROM q",
}
CALLS = {**{call: call for call in SAME}, **OTHERWISE}


@pytest.fixture(scope="module")
def app() -> App:
    items = ", ".join(f"{call} AS c{number}" for number, call in enumerate(CALLS))
    return App(f"CREATE STREAM t ({DECLARED}); SELECT id, {items} FROM t;")


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(f"CREATE TABLE t ({DECLARED})")
    return connection


@given(rows=ROWS)
def test_functions_give_what_duckdb_gives(
    app: App, connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]
) -> None:
    numbered = [{"id": number, **row} for number, row in enumerate(rows)]
    result = app.local(inputs={"t": numbered}, mode="single", partitions=1)
    assert not result.dead_letters
    ours = [list(json.loads(record.raw_value or b"").values())[1:] for record in result.records]
    connection.execute("DELETE FROM t")
    connection.executemany(
        f"INSERT INTO t VALUES ({', '.join('?' for _ in COLUMNS)})",
        [[row[name] for name in COLUMNS] for row in numbered],
    )
    theirs = connection.execute(f"SELECT {', '.join(CALLS.values())} FROM t ORDER BY id").fetchall()
    for row, mine, other in zip(numbered, ours, theirs, strict=True):
        for call, value, wanted in zip(CALLS, mine, other, strict=True):
            assert _same(value, wanted), (call, row, value, wanted)


def _same(mine: Any, other: Any) -> bool:
    if isinstance(mine, float) and other is not None:
        return math.isclose(mine, float(other), rel_tol=1e-9, abs_tol=1e-9)
    return bool(mine == other)


@given(text=st.text())
def test_url_encoding_is_that_of_forms(text: str) -> None:
    encoded = urls.encode_form(text)
    assert encoded == quote_plus(text, safe="*").replace("~", "%7E")
    assert urls.decode_form(encoded) == text

"""Random typed expressions over columns that may be NULL, each in Headrace's SQL and in DuckDB's."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

COLUMNS = ("i", "n", "x", "d", "s", "b", "day", "ts")
DECLARED = (
    "id INT, i INT, n BIGINT, x DOUBLE, d DECIMAL(10, 2), s VARCHAR, b BOOLEAN, day DATE, ts TIMESTAMP"  # both dialects
)
VALUES: dict[str, tuple[Any, ...]] = {
    "i": (0, 1, -1, 2, 7, -13, 2**31 - 1, -(2**31)),
    "n": (0, 1, -2, 10, 2**31, 2**63 - 1, -(2**63)),
    "x": (0.0, -0.0, 1.0, -1.5, 2.5, 0.1, 1234.5, -7.25),
    "d": tuple(map(Decimal, ("0.00", "1.00", "-1.50", "2.25", "0.05", "99999999.99"))),
    "s": ("", "a", "ab", "Ab%", "a_b", "é", " b ", "1", "-5", "2.5", "true", "2013-01-05"),
    "b": (True, False),
    "day": (date(2013, 1, 5), date(1969, 12, 31), date(2000, 2, 29)),
    "ts": (0, -1_000, 1_357_407_000_000, 1_357_407_000_123, 951_868_799_000),
}
ROWS = st.lists(st.fixed_dictionaries({n: st.none() | st.sampled_from(v) for n, v in VALUES.items()}), min_size=1)


@dataclass(frozen=True)
class Expr:
    """An expression of a kind: bool, int, double, decimal, text, date or time."""

    kind: str
    sql: str
    duckdb: str
    fallible: bool = False
    """Some value of its columns makes it an error."""
    skips: bool = False
    """An operand decides it alone, so that errors in the others may or may not be met (AND, OR, CASE, COALESCE, IN)."""
    shields: bool = False
    """A NULL operand may leave others unevaluated, so that errors in them may or may not be met."""


def _make(
    kind: str, template: str, *operands: Expr, duckdb: str = "", fails: bool = False, skips: bool = False
) -> Expr:
    fallible = any(operand.fallible for operand in operands)
    return Expr(
        kind,
        template.format(*(operand.sql for operand in operands)),
        (duckdb or template).format(*(operand.duckdb for operand in operands)),
        fails or fallible,
        any(operand.skips for operand in operands) or (skips and fallible),
        any(operand.shields for operand in operands) or (len(operands) > 1 and fallible),
    )


def _leaf(kind: str, sql: str, duckdb: str = "") -> Expr:
    return Expr(kind, sql, duckdb or sql)


_WIDE = _leaf("decimal", "d", "CAST(d AS DECIMAL(24, 2))")  # DuckDB's products of narrow ones overflow early
_LEAVES: dict[str, list[Expr]] = {
    "bool": [_leaf("bool", text) for text in ("b", "TRUE", "FALSE")],
    "int": [_leaf("int", text) for text in ("i", "n", "0", "1", "3", "-2", "1000000")],
    "double": [_leaf("double", text) for text in ("x", "0.5e0", "-2e0", "3e0")],
    "decimal": [_WIDE, *(_leaf("decimal", text) for text in ("1.5", "0.25", "-3.0"))],
    "text": [_leaf("text", text) for text in ("s", "'a'", "''", "'B'", "'1'", "'it''s'")],
    "date": [_leaf("date", "day"), _leaf("date", "CAST('2000-02-29' AS DATE)")],
    "time": [_leaf("time", "ts"), _leaf("time", "CAST('2013-01-05 17:30:00' AS TIMESTAMP)")],
}
_NULLS = {
    "bool": "BOOLEAN",
    "int": "BIGINT",
    "double": "DOUBLE",
    "decimal": "DECIMAL(10, 2)",
    "text": "VARCHAR",
    "date": "DATE",
    "time": "TIMESTAMP",
}
KINDS = tuple(_LEAVES)
_NUMBERS = ("int", "double", "decimal")
_COMPARED = (
    *(("int", "int"), ("double", "double"), ("decimal", "decimal"), ("text", "text"), ("date", "date")),
    *(("time", "time"), ("int", "double"), ("decimal", "int"), ("double", "decimal"), ("date", "time")),
)


@st.composite
def expressions(draw: st.DrawFn, kind: str, depth: int = 3) -> Expr:
    """An expression of a kind, at most so deep."""
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        if draw(st.integers(0, 9)) == 0:
            return _leaf(kind, f"CAST(NULL AS {_NULLS[kind]})")
        return draw(st.sampled_from(_LEAVES[kind]))

    def of(operand_kind: str) -> Expr:
        return draw(expressions(operand_kind, depth - 1))

    if draw(st.integers(0, 4)) == 0:
        return _any_kind(draw, kind, of)
    return _BUILDERS[kind](draw, of)


_Of = Callable[[str], Expr]


def _varying(operand: Expr) -> Expr:
    """Not a text constant: a CAST that cannot be done of one is an error of the query."""
    constant = operand.sql.startswith("'") or not re.search(rf"\b({'|'.join(COLUMNS)})\b", operand.sql)
    return _leaf("text", "s") if constant and operand.kind == "text" else operand


def _any_kind(draw: st.DrawFn, kind: str, of: _Of) -> Expr:
    match draw(st.integers(0, 3)):
        case 0:
            template = "CASE WHEN {0} THEN {1} WHEN {2} THEN {3} ELSE {4} END"
            return _make(kind, template, of("bool"), of(kind), of("bool"), of(kind), of(kind), skips=True)
        case 1:
            return _make(
                kind, "CASE {0} WHEN 1 THEN {1} WHEN 2 THEN {2} END", of("int"), of(kind), of(kind), skips=True
            )
        case 2:
            return _make(kind, "COALESCE({0}, {1}, {2})", of(kind), of(kind), of(kind), skips=True)
        case _:
            return _make(kind, "NULLIF({0}, {1})", of(kind), of(kind), skips=True)


def _bool(draw: st.DrawFn, of: _Of) -> Expr:
    match draw(st.integers(0, 11)):
        case 0 | 1:
            left, right = draw(st.sampled_from(_COMPARED))
            operator = draw(st.sampled_from(("=", "<>", "<", "<=", ">", ">=")))
            return _make("bool", f"({{0}} {operator} {{1}})", of(left), of(right))
        case 2:
            operator = draw(st.sampled_from(("AND", "OR")))
            return _make("bool", f"({{0}} {operator} {{1}})", of("bool"), of("bool"), skips=True)
        case 3:
            return _make("bool", "(NOT {0})", of("bool"))
        case 4:
            kind = draw(st.sampled_from(KINDS))
            return _make("bool", f"({{0}} IS {draw(st.sampled_from(('', 'NOT ')))}NULL)", of(kind))
        case 5:
            test = draw(st.sampled_from(("TRUE", "FALSE", "NOT TRUE", "NOT FALSE")))
            return _make("bool", f"({{0}} IS {test})", of("bool"))
        case 6:
            left, right = draw(st.sampled_from((*_COMPARED, ("bool", "bool"))))
            negation = draw(st.sampled_from(("", "NOT ")))
            return _make("bool", f"({{0}} IS {negation}DISTINCT FROM {{1}})", of(left), of(right))
        case 7:
            kind = draw(st.sampled_from((*_NUMBERS, "text", "date", "time")))
            negation = draw(st.sampled_from(("", "NOT ")))
            return _make("bool", f"({{0}} {negation}BETWEEN {{1}} AND {{2}})", of(kind), of(kind), of(kind), skips=True)
        case 8:
            kind = draw(st.sampled_from((*_NUMBERS, "text", "bool")))
            negation = draw(st.sampled_from(("", "NOT ")))
            last = draw(st.sampled_from(("", ", NULL")))
            return _make("bool", f"({{0}} {negation}IN ({{1}}, {{2}}{last}))", of(kind), of(kind), of(kind), skips=True)
        case 9:
            pattern = draw(st.sampled_from(("'a%'", "'%b'", "'_'", "'%'", "''", "'A_%'", "'a!_b' ESCAPE '!'")))
            operator = draw(st.sampled_from(("LIKE", "NOT LIKE")))
            return _make("bool", f"({{0}} {operator} {pattern})", of("text"))
        case 10:
            operator = draw(st.sampled_from(("=", "<>")))
            return _make("bool", f"({{0}} {operator} {{1}})", of("bool"), of("bool"))
        case _:
            return _make("bool", "CAST({0} AS BOOLEAN)", of("int"))


_DIVIDED = "CASE WHEN {0} IS NOT NULL AND {1} = 0 THEN CAST(error('zero') AS DOUBLE) ELSE {0} / {1} END"


def _int(draw: st.DrawFn, of: _Of) -> Expr:
    match draw(st.integers(0, 11)):
        case 0 | 1 | 2:
            operator = draw(st.sampled_from(("+", "-", "*")))
            return _make("int", f"({{0}} {operator} {{1}})", of("int"), of("int"), fails=True)
        case 3:
            return _make("int", "({0} / {1})", of("int"), of("int"), duckdb="({0} // {1})", fails=True)
        case 4:
            return _make("int", "({0} % {1})", of("int"), of("int"), fails=True)
        case 5:
            return _make("int", "(- {0})", of("int"), fails=True)
        case 6:
            function = draw(st.sampled_from(("GREATEST", "LEAST")))
            return _make("int", f"{function}({{0}}, {{1}})", of("int"), of("int"))
        case 7:
            return _make("int", "LENGTH({0})", of("text"), duckdb="CAST(LENGTH({0}) AS INTEGER)")
        case 8:
            part = draw(st.sampled_from(("YEAR", "MONTH", "DAY", "DOW", "DOY", "QUARTER")))
            return _make("int", f"EXTRACT({part} FROM {{0}})", of(draw(st.sampled_from(("date", "time")))))
        case 9:
            part = draw(st.sampled_from(("HOUR", "MINUTE", "SECOND")))
            return _make("int", f"EXTRACT({part} FROM {{0}})", of("time"))
        case 10:
            kind = draw(st.sampled_from(("text", "double", "decimal", "bool")))
            function = draw(st.sampled_from(("CAST", "CAST", "TRY_CAST"))) if kind == "text" else "CAST"
            target = draw(st.sampled_from(("INT", "BIGINT")))
            whole = "CASE WHEN {0} LIKE '%.%' THEN 'no' ELSE {0} END" if kind == "text" else "{0}"
            return _make(
                "int",
                f"{function}({{0}} AS {target})",
                _varying(of(kind)),
                duckdb=f"{function}({whole} AS {target})",
                fails=True,
            )
        case _:
            return _make(
                "int", "POSITION({0} IN {1})", of("text"), of("text"), duckdb="CAST(POSITION({0} IN {1}) AS INT)"
            )


def _double(draw: st.DrawFn, of: _Of) -> Expr:
    match draw(st.integers(0, 7)):
        case 0 | 1 | 2:
            operator = draw(st.sampled_from(("+", "-", "*")))
            other = draw(st.sampled_from(_NUMBERS))
            return _make("double", f"({{0}} {operator} {{1}})", of("double"), of(other))
        case 3:
            return _make("double", "({0} / {1})", of("double"), of("double"), duckdb=f"({_DIVIDED})", fails=True)
        case 4:
            kind = draw(st.sampled_from(("int", "decimal", "text")))
            return _make("double", "CAST({0} AS DOUBLE)", _varying(of(kind)), fails=kind == "text")
        case 5:
            function = draw(st.sampled_from(("ABS", "FLOOR", "CEIL", "ROUND")))
            return _make("double", f"{function}({{0}})", of("double"))
        case 6:
            function, outside = draw(st.sampled_from((("SQRT", "<"), ("LN", "<="))))
            duckdb = f"CASE WHEN {{0}} {outside} 0 THEN CAST(error('domain') AS DOUBLE) ELSE {function}({{0}}) END"
            return _make("double", f"{function}({{0}})", of("double"), duckdb=duckdb, fails=True)
        case _:
            return _make("double", "(- {0})", of("double"))


def _decimal(draw: st.DrawFn, of: _Of) -> Expr:
    match draw(st.integers(0, 5)):
        case 0 | 1:
            operator = draw(st.sampled_from(("+", "-")))
            other = draw(st.sampled_from(("decimal", "int")))
            return _make("decimal", f"({{0}} {operator} {{1}})", of("decimal"), of(other), fails=True)
        case 2:
            factors = st.sampled_from([*_LEAVES["decimal"], _leaf("int", "i")])
            return _make("decimal", "({0} * {1})", draw(st.sampled_from(_LEAVES["decimal"])), draw(factors), fails=True)
        case 3:
            return _make("decimal", "(- {0})", of("decimal"))
        case 4:
            return _make("decimal", "ABS({0})", of("decimal"))
        case _:
            kind = draw(st.sampled_from(("int", "decimal", "text")))
            return _make("decimal", "CAST({0} AS DECIMAL(10, 2))", _varying(of(kind)), fails=True)


def _text(draw: st.DrawFn, of: _Of) -> Expr:
    match draw(st.integers(0, 7)):
        case 0 | 1:
            return _make("text", "({0} || {1})", of("text"), of("text"))
        case 2:
            function = draw(st.sampled_from(("UPPER", "LOWER", "TRIM", "LTRIM", "RTRIM")))
            return _make("text", f"{function}({{0}})", of("text"))
        case 3:
            start, length = draw(st.integers(1, 4)), draw(st.integers(0, 3))
            return _make("text", f"SUBSTRING({{0}}, {start}, {length})", of("text"))
        case 4:
            function, count = draw(st.sampled_from(("LEFT", "RIGHT"))), draw(st.integers(0, 3))
            return _make("text", f"{function}({{0}}, {count})", of("text"))
        case 5:
            return _make("text", "REPLACE({0}, 'a', {1})", of("text"), of("text"))
        case 6:
            return _make("text", "CONCAT({0}, 'x')", of("text"), duckdb="({0} || 'x')")
        case _:
            kind = draw(st.sampled_from(("int", "bool", "date")))
            return _make("text", "CAST({0} AS VARCHAR)", of(kind))


def _date(draw: st.DrawFn, of: _Of) -> Expr:
    kind = draw(st.sampled_from(("time", "text")))
    return _make("date", "CAST({0} AS DATE)", _varying(of(kind)), fails=kind == "text")


def _time(draw: st.DrawFn, of: _Of) -> Expr:
    match draw(st.integers(0, 3)):
        case 0:
            interval = draw(st.sampled_from(("INTERVAL '1' DAY", "INTERVAL '90' SECOND")))
            operator = draw(st.sampled_from(("+", "-")))
            return _make("time", f"({{0}} {operator} {interval})", of(draw(st.sampled_from(("time", "date")))))
        case 1:
            unit = draw(st.sampled_from(("second", "minute", "hour", "day", "week", "month", "quarter", "year")))
            return _make("time", f"DATE_TRUNC('{unit}', {{0}})", of("time"))
        case 2:
            return _make("time", "CAST({0} AS TIMESTAMP)", of("date"))
        case _:
            return _make("time", "GREATEST({0}, {1})", of("time"), of("time"))


_BUILDERS: dict[str, Callable[[st.DrawFn, _Of], Expr]] = {
    "bool": _bool,
    "int": _int,
    "double": _double,
    "decimal": _decimal,
    "text": _text,
    "date": _date,
    "time": _time,
}
EXPRESSIONS = st.sampled_from(KINDS).flatmap(expressions)

"""Random typed expressions over columns that may be NULL, each in Headrace's SQL and in DuckDB's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from headrace.sql.functions import scalars

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
LEAVES: dict[str, list[Expr]] = {
    "bool": [_leaf("bool", text) for text in ("b", "TRUE", "FALSE")],
    "int": [_leaf("int", text) for text in ("i", "n", "0", "1", "3", "-2", "1000000")],
    "double": [_leaf("double", text) for text in ("x", "0.5e0", "-2e0", "3e0")],
    "decimal": [_WIDE, *(_leaf("decimal", text) for text in ("1.5", "0.25", "-3.0"))],
    "text": [_leaf("text", text) for text in ("s", "'a'", "''", "'B'", "'1'", "'it''s'")],
    "date": [_leaf("date", "day"), _leaf("date", "CAST('2000-02-29' AS DATE)")],
    "time": [_leaf("time", "ts"), _leaf("time", "CAST('2013-01-05 17:30:00' AS TIMESTAMP)")],
}
CONSTANTS = {kind: [leaf for leaf in leaves if leaf.sql not in COLUMNS] for kind, leaves in LEAVES.items()}
_NULLS = {
    "bool": "BOOLEAN",
    "int": "BIGINT",
    "double": "DOUBLE",
    "decimal": "DECIMAL(10, 2)",
    "text": "VARCHAR",
    "date": "DATE",
    "time": "TIMESTAMP",
}
KINDS = tuple(LEAVES)
_NUMBERS = ("int", "double", "decimal")
_COMPARED = (
    *(("int", "int"), ("double", "double"), ("decimal", "decimal"), ("text", "text"), ("date", "date")),
    *(("time", "time"), ("int", "double"), ("decimal", "int"), ("double", "decimal"), ("date", "time")),
)


@dataclass(frozen=True)
class Errors:
    """Where an expression may meet one: `inside` of it, or not; as a `whole`, or not."""

    inside: bool
    whole: bool


ANYWHERE, AS_A_WHOLE, NOWHERE = Errors(True, True), Errors(False, True), Errors(False, False)
"""As a whole: all operands always have values, so that it is the same for which rows two engines meet the error."""


@st.composite
def expressions(
    draw: st.DrawFn,
    kind: str,
    depth: int = 3,
    leaves: Mapping[str, Sequence[Expr]] = LEAVES,
    errors: Errors = ANYWHERE,
) -> Expr:
    """An expression of a kind, at most so deep."""

    def leaf() -> Expr:
        return draw(st.sampled_from(leaves[kind]))

    if depth == 0 or draw(st.integers(0, 5)) == 0:
        if draw(st.integers(0, 9)) == 0:
            return _leaf(kind, f"CAST(NULL AS {_NULLS[kind]})")
        return leaf()

    def of(operand_kind: str) -> Expr:
        below = errors if errors.inside else NOWHERE
        form, _, plain = operand_kind.rpartition(" ")
        operand = draw(expressions(plain, 0 if form == "leaf" else depth - 1, leaves, below))
        return _varying(operand, leaves) if form == "varying" else operand

    functions = [function for function in FUNCTIONS if function.kind == kind]
    match draw(st.integers(0, 9)):
        case 0 | 1:
            made = _any_kind(draw, kind, of)
        case 2 | 3 | 4 if functions:
            made = draw(st.sampled_from(functions)).call(draw, of)
        case _:
            made = _BUILDERS[kind](draw, of)
    return made if errors.whole or not made.fallible else leaf()


_Of = Callable[[str], Expr]
"""An operand of a kind; `varying text`: one that is no constant; `leaf decimal`: one that is not made of others."""


def _varying(operand: Expr, leaves: Mapping[str, Sequence[Expr]]) -> Expr:
    """Not a text constant: a CAST that cannot be done of one is an error of the query."""
    columns = [leaf for kind in KINDS for leaf in leaves[kind] if leaf not in CONSTANTS[kind]]
    if operand.kind != "text" or any(_reads(operand, column) for column in columns):
        return operand
    if not columns:
        return _leaf("text", "CAST(NULL AS VARCHAR)")
    return _make("text", "CASE WHEN {0} IS NULL THEN '1' ELSE 'x' END", columns[0])


def _reads(expression: Expr, column: Expr) -> bool:
    code = re.sub(r"'[^']*'", "''", expression.sql)
    return re.search(rf"(?<!\w){re.escape(column.sql)}(?!\w)", code) is not None


@dataclass(frozen=True)
class Function:
    """A scalar function of the registry, and how DuckDB spells it; operands by kind, or constants to choose from."""

    kind: str
    sql: str
    operands: tuple[str | tuple[str, ...], ...]
    duckdb: str = ""
    fails: bool = False

    def call(self, draw: st.DrawFn, of: _Of) -> Expr:
        operands = [
            of(operand) if isinstance(operand, str) else _leaf("constant", draw(st.sampled_from(operand)))
            for operand in self.operands
        ]
        return _make(self.kind, self.sql, *operands, duckdb=self.duckdb, fails=self.fails)


_COUNTS = ("0", "1", "2", "5", "-1")
_UNITS = tuple(f"'{unit}'" for unit in ("second", "minute", "hour", "day", "week", "month", "quarter", "year"))


def _outside(condition: str, function: str) -> str:
    """DuckDB's function, an error where ours is one."""
    return f"CASE WHEN {condition} THEN CAST('domain: ' || {{0}} AS DOUBLE) ELSE {function} END"


_TABLE = (
    Function("text", "UPPER({0})", ("text",)),
    Function("text", "LCASE({0})", ("text",), "LOWER({0})"),
    Function("text", "TRIM({0})", ("text",)),
    Function("text", "LTRIM({0})", ("text",)),
    Function("text", "RTRIM({0})", ("text",)),
    Function("text", "CONCAT({0}, {1}, {2})", ("text", "text", "text"), "({0} || {1} || {2})"),
    Function("text", "SUBSTRING({0}, {1}, {2})", ("text", ("1", "2", "4"), ("0", "1", "3"))),
    Function("text", "SUBSTR({0} , {1})", ("text", ("1", "2", "4")), "SUBSTRING({0}, {1})"),
    Function("text", "LEFT({0}, {1})", ("text", _COUNTS)),
    Function("text", "RIGHT({0}, {1})", ("text", _COUNTS)),
    Function("text", "REPLACE({0}, {1}, {2})", ("text", ("'a'", "'ab'", "'.'", "' '"), "text")),
    Function("int", "LENGTH({0})", ("text",), "CAST(LENGTH({0}) AS INTEGER)"),
    Function("int", "POSITION({0} IN {1})", ("text", "text"), "CAST(POSITION({0} IN {1}) AS INTEGER)"),
    Function("int", "INSTR({0}, {1})", ("text", "text"), "CAST(INSTR({0}, {1}) AS INTEGER)"),
    Function("int", "SIGN({0})", ("int",), "CAST(SIGN({0}) AS INTEGER)"),
    Function("int", "SIGN({0})", ("decimal",), "CAST(SIGN({0}) AS INTEGER)"),
    Function("int", "ABS({0})", ("int",), fails=True),
    Function("int", "MOD({0}, {1})", ("int", "int"), "({0} % {1})", fails=True),
    Function("int", "IF({0}, {1}, {2})", ("bool", "int", "int")),
    Function("int", "CEIL({0})", ("int",), "{0}"),
    Function("int", "EXTRACT(EPOCH FROM {0})", ("time",), "CAST(FLOOR(EXTRACT(EPOCH FROM {0})) AS BIGINT)"),
    Function("double", "CEIL({0})", ("double",)),
    Function("double", "FLOOR({0})", ("double",)),
    Function("double", "ROUND({0})", ("double",)),
    Function("double", "SQRT({0})", ("double",), _outside("{0} < 0", "SQRT({0})"), fails=True),
    Function("double", "LN({0})", ("double",), _outside("{0} <= 0", "LN({0})"), fails=True),
    Function("double", "POWER({0}, {1})", ("double", ("2", "3", "0"))),
    Function("double", "NVL({0}, {1})", ("double", "double"), "COALESCE({0}, {1})"),
    Function("decimal", "ABS({0})", ("decimal",)),
    Function("decimal", "IFNULL({0}, {1})", ("decimal", "decimal")),
    Function("time", "DATE_TRUNC({0}, {1})", (_UNITS, "time")),
    Function("time", "LEAST({0}, {1})", ("time", "time")),
    Function("date", "GREATEST({0}, {1})", ("date", "date")),
)
_KNOWN = {*scalars.BY_NAME, *scalars.REWRITTEN}
FUNCTIONS = tuple(function for function in _TABLE if function.sql.partition("(")[0] in _KNOWN)


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


_DIVIDED = "CASE WHEN {0} IS NOT NULL AND {1} = 0 THEN CAST('zero: ' || {0} AS DOUBLE) ELSE {0} / {1} END"


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
                of(f"varying {kind}"),
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
            return _make("double", "CAST({0} AS DOUBLE)", of(f"varying {kind}"), fails=kind == "text")
        case 5:
            function = draw(st.sampled_from(("ABS", "FLOOR", "CEIL", "ROUND")))
            return _make("double", f"{function}({{0}})", of("double"))
        case 6:
            function, outside = draw(st.sampled_from((("SQRT", "<"), ("LN", "<="))))
            duckdb = f"CASE WHEN {{0}} {outside} 0 THEN CAST('domain: ' || {{0}} AS DOUBLE) ELSE {function}({{0}}) END"
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
            return _make("decimal", "({0} * {1})", of("leaf decimal"), of("leaf decimal"), fails=True)
        case 3:
            return _make("decimal", "(- {0})", of("decimal"))
        case 4:
            return _make("decimal", "ABS({0})", of("decimal"))
        case _:
            kind = draw(st.sampled_from(("int", "decimal", "text")))
            return _make("decimal", "CAST({0} AS DECIMAL(10, 2))", of(f"varying {kind}"), fails=True)


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
    return _make("date", "CAST({0} AS DATE)", of(f"varying {kind}"), fails=kind == "text")


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

"""Every mistake in SQL text, as its author reads it: file, line, column, the line, a caret, a hint.

Each file of errors/ is one app with a mistake in almost every statement; its golden is all that is said of it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.golden.goldens import ROOT, CheckGolden, files

from headrace import App, SqlError, app, sql
from headrace.sql.tree import expressions, queries

FILES = files("errors", "*.sql")
SOURCES = sorted(path for folder in (*sql.__path__, *app.__path__) for path in Path(folder).rglob("*.py"))
MESSAGES = {
    "sql_error": "{}",
    "Problem": "{}",
    "refuse": "{} is not supported yet",
    "raise_error": "{}",
    "_expected": "expected {}",
    "_expect": "expected {}",
}
"""What each function that makes an error makes of its text."""
POSITION_OF_TEXT = {"_expect": 1}
DYNAMIC = {
    "str(error)": "the text of a RecordError: its own goldens are those of the records",
    "str(error).splitlines()[0]": "a mistake that sqlglot finds without calling raise_error",
    "message": "sql_error itself",
    "text": "raise_error itself",
    "what": "refuse and _expected themselves",
    "what or type(node).__name__.upper()": "names of nodes: the tables of sql/tree, tested below",
}
"""Calls whose text is not written at the call, with the reason why none is looked for."""
UNREACHED = {
    "{} has no `merge`, which sessions need": "of users' own functions: tests/unit/test_udaf.py",
    "the statement is nested too deeply": "tested by texts made for it",
    "the expression is too large": "tested by a text made for it",
    "more than 80 filters, projections and aggregations stand upon each other here": "tested by a text made for it",
    "cannot read the text": "the tokenizer refuses nothing but quotes and comments that are not closed",
    "TRIM with COLLATE is not supported yet": "sqlglot reads COLLATE as a part of the operand",
    "a UNION has at most 255 queries": "tested by a text made for it",
    "there is no file `x.sql`": "of RUN SCRIPT in test files alone, and tested with them",
}
"""Messages without a golden, with the reason."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_errors_read_as_expected(path: Path, golden: CheckGolden) -> None:
    with pytest.raises(SqlError) as caught:
        App(path.read_text(encoding="utf-8"), file=path.name)
    golden(path.with_suffix(".golden"), f"{caught.value}\n")


def test_every_problem_has_a_place() -> None:
    for path in FILES:
        with pytest.raises(SqlError) as caught:
            App(path.read_text(encoding="utf-8"), file=path.name)
        for problem in caught.value.problems:
            assert problem.span is not None, problem.message


def test_every_statement_but_declarations_is_refused() -> None:
    """A statement that is let through in these files is a mistake that is not seen."""
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        said = {int(number) for number in re.findall(rf"^{re.escape(path.name)}:(\d+):", _golden(path), re.MULTILINE)}
        silent = [line for number, line in enumerate(text.splitlines(), 1) if number not in said]
        for line in silent:
            assert line.startswith(("--", "CREATE ")) or line in LET_THROUGH, f"{path.name}: {line}"


LET_THROUGH = (
    *("INSERT INTO both SELECT b FROM strict;", "INSERT INTO both SELECT symbol FROM trades;"),
    "INSERT INTO target SELECT symbol FROM trades;",
)


def _sites() -> Iterator[tuple[str, str]]:
    """Each call that makes an error: where it is, and a pattern of its text."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            position = POSITION_OF_TEXT.get(name, 0)
            if name in MESSAGES and len(node.args) > position:
                for pattern in _patterns(node.args[position]):
                    before, after = MESSAGES[name].split("{}")
                    yield f"{path.name}:{node.lineno}", f"{re.escape(before)}{pattern}{re.escape(after)}"


def _patterns(text: ast.expr) -> list[str]:
    match text:
        case ast.Constant(value=str() as value):
            return [re.escape(value)]
        case ast.JoinedStr(values=parts):
            return ["".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else ".+" for p in parts)]
        case ast.IfExp(body=body, orelse=orelse):
            return _patterns(body) + _patterns(orelse)
    source = ast.unparse(text)
    assert source in DYNAMIC, f"the text of an error is `{source}`: write it at the call, or list it with a reason"
    return []


SITES = list(_sites())


@pytest.mark.parametrize(("where", "pattern"), SITES, ids=[where for where, _ in SITES])
def test_every_message_has_a_golden(where: str, pattern: str) -> None:
    if any(re.fullmatch(pattern, message) for message in UNREACHED):
        return
    assert any(re.match(pattern, message) for message in _messages()), f"{where}: no golden has {pattern}"


@pytest.mark.parametrize("name", sorted({*expressions._REFUSED.values(), *queries._CLAUSE_NAMES.values()}))
def test_every_refused_construct_has_a_golden(name: str) -> None:
    assert f"{name} is not supported yet" in _messages()


def _nested(times: int, before: str, core: str, after: str) -> str:
    return f"SELECT {before * times}{core}{after * times} AS a FROM t;"


TOO_MUCH = {
    "parentheses": (_nested(20_000, "(", "1", ")"), "the statement is nested too deeply"),
    "parentheses that never close": (_nested(33, "(", "n", ""), "the statement is nested too deeply"),
    "calls": (_nested(33, "ABS(", "n", ")"), "the statement is nested too deeply"),
    "CASE": (_nested(33, "CASE WHEN b THEN 1 ELSE ", "n", " END"), "the statement is nested too deeply"),
    "signs": (_nested(500, "- ", "n", ""), "the statement is nested too deeply"),
    "NOT": (_nested(5_000, "NOT ", "b", ""), "the statement is nested too deeply"),
    "queries": (f"SELECT * FROM {'(SELECT * FROM ' * 33}t{')' * 33};", "the statement is nested too deeply"),
    "a sum": (f"SELECT {' + '.join('n' * 151)} AS a FROM t;", "the statement is nested too deeply"),
    "a long sum": (f"SELECT {' + '.join('n' * 3_000)} AS a FROM t;", "the statement is nested too deeply"),
    "casts": (_nested(151, "", "n", "::VARCHAR::BIGINT"), "the statement is nested too deeply"),
    "casts in code": (_nested(32, "", "n", "::VARCHAR::BIGINT"), "the statement is nested too deeply"),
    "doubled": (_nested(9, "(", "n", " BETWEEN 1 AND 2)::INT"), "the expression is too large"),
    "views": (
        "CREATE VIEW v0 AS SELECT n FROM t;"
        + "".join(f"CREATE VIEW v{n} AS SELECT n + 1 AS n FROM v{n - 1};" for n in range(1, 82)),
        "more than 80 filters, projections and aggregations stand upon each other here",
    ),
}
"""Texts that Python could not read, or not in sensible time, and what is said of them."""

LONG = {
    "OR": f"SELECT n FROM t WHERE {' OR '.join(f'n = {n}' for n in range(1_000))};",
    "AND": f"SELECT {' AND '.join('b' * 1_000)} AS a FROM t;",
    "IN": f"SELECT n IN ({', '.join('n' * 300)}, 7) AS a FROM t;",
    "||": f"SELECT {' || '.join('s' * 100)} AS a FROM t;",
    "+": f"SELECT {' + '.join('n' * 50)} AS a, {' + '.join('d' * 50)} AS b FROM t;",
    "CASE": f"SELECT CASE n {' '.join(f'WHEN {n} THEN {n}' for n in range(500))} END AS a FROM t;",
    "COALESCE": f"SELECT COALESCE({', '.join('n' * 150)}) AS a FROM t;",
    "columns": f"SELECT {', '.join(f'n + {n} AS c{n}' for n in range(300))} FROM t;",
    "calls": _nested(30, "ABS(", "n", ")"),
    "arrays": _nested(31, "ARRAY[", "n", "]"),
    "rows": _nested(31, "ROW(", "n", ")"),
    "streams": "".join(
        f"CREATE STREAM s{n} AS SELECT n + 1 AS n FROM {f's{n - 1}' if n else 't'} WHERE n > 0;" for n in range(40)
    ),
}
"""Texts that are long, as programs write them."""
_SOURCE = "CREATE STREAM t (n BIGINT, d DECIMAL(10, 2), s VARCHAR, b BOOLEAN);"


@pytest.mark.parametrize("what", TOO_MUCH)
def test_too_much_of_anything_is_an_error_and_no_crash(what: str) -> None:
    text, message = TOO_MUCH[what]
    with pytest.raises(SqlError) as caught:
        App(_SOURCE + text)
    assert message in {problem.message for problem in caught.value.problems}
    assert all(problem.span is not None for problem in caught.value.problems)


@pytest.mark.parametrize("what", LONG)
def test_what_is_long_is_read(what: str) -> None:
    for mode in ("single", "partitioned"):
        result = App(_SOURCE + LONG[what]).local(inputs={"t": [{"n": 7, "d": 1, "s": "a", "b": True}]}, mode=mode)
        assert result.records
        assert not result.dead_letters


def test_union_of_too_many_queries_is_refused() -> None:
    queries = " UNION ALL ".join(["SELECT a FROM t"] * 256)
    with pytest.raises(SqlError, match="a UNION has at most 255 queries"):
        App(f"CREATE STREAM t (a INT); {queries};")


def _golden(path: Path) -> str:
    return path.with_suffix(".golden").read_text(encoding="utf-8")


def _messages() -> set[str]:
    goldens = [*(ROOT / "errors").glob("*.golden"), *(ROOT / "suites").glob("*/refusals/*.txt")]
    return {
        message
        for path in goldens
        for message in re.findall(r"^\S+:\d+:\d+: error: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

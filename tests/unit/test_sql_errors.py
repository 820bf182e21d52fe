"""Problems as they are shown: the line of their place, and a caret under it."""

from __future__ import annotations

import pytest

from headrace.app.application import App
from headrace.sql.errors import Problem, Span, SqlError, render_problem


def shown(text: str, marked: str) -> list[str]:
    """The line and the caret for the first place where `marked` stands."""
    start = text.index(marked)
    return render_problem(Problem("wrong", Span(start, start + len(marked))), text, "f").split("\n")


@pytest.mark.parametrize(
    ("text", "marked", "place", "line", "caret"),
    [
        ("SELECT x", "x", "1:8", "SELECT x", "       ^"),
        ("a\nSELECT x\nb", "x", "2:8", "SELECT x", "       ^"),
        ("a\r\nSELECT x\r\nb", "x", "2:8", "SELECT x", "       ^"),
        ("\t\tx", "x", "1:3", "  x", "  ^"),
        ("'日本' x", "x", "1:6", "'日本' x", "       ^"),
        ("'日本' x", "'日本'", "1:1", "'日本' x", "^^^^^^"),
        ("'😀' x", "x", "1:5", "'😀' x", "     ^"),
        ("'e\u0301' x", "x", "1:6", "'e\u0301' x", "    ^"),
        ("'\x1b[31m' x", "x", "1:9", "' [31m' x", "        ^"),
        ("\ud800 x", "x", "1:3", "\N{REPLACEMENT CHARACTER} x", "  ^"),
        ("x +\n  y", "x +\n  y", "1:1", "x +", "^^^"),
        ("x +\r\n  y", "x +\r\n  y", "1:1", "x +", "^^^"),
        ("x\u2028y z", "z", "1:5", "x y z", "    ^"),
    ],
)
def test_caret_stands_under_the_place(text: str, marked: str, place: str, line: str, caret: str) -> None:
    assert shown(text, marked) == [f"f:{place}: error: wrong", f"  {line}", f"  {caret}"]


def test_place_behind_the_end_is_shown_at_the_end() -> None:
    problem = Problem("wrong", Span(9, 10), "a hint")
    assert render_problem(problem, "SELECT x", "f") == "f:1:9: error: wrong\n  SELECT x\n          ^\n  hint: a hint"


def test_problem_without_a_place_is_one_line() -> None:
    assert render_problem(Problem("wrong"), "SELECT x", "f") == "f: error: wrong"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SET a.", "the rest of the name of an option"),
        ("CREATE STREAM r (v INT) WITH (a.", "the rest of the name of an option"),
        ("CREATE STREAM r (t TIMESTAMP); SELECT FLOOR(t TO", "a unit of time"),
    ],
)
def test_text_that_ends_in_the_middle_says_what_is_missing(text: str, expected: str) -> None:
    with pytest.raises(SqlError, match=f"expected {expected}, found the end of the statement"):
        App(text)


@pytest.mark.parametrize(
    "columns", ["k INT PRIMARY KEY, j INT, PRIMARY KEY (j)", "j INT, PRIMARY KEY (j), k INT PRIMARY KEY"]
)
def test_a_table_has_one_primary_key(columns: str) -> None:
    with pytest.raises(SqlError, match="a table has one PRIMARY KEY"):
        App(f"CREATE TABLE t ({columns}) WITH (topic = 't'); SELECT j FROM t;")


def test_message_about_a_long_text_is_shortened() -> None:
    app = App("CREATE STREAM s (k VARCHAR); SELECT CAST(k AS INT) AS n FROM s;")
    (letter,) = app.local({"s": [{"k": "x" * 100_000}]}).dead_letters
    assert letter.message == "'" + "x" * 999


@pytest.mark.parametrize("made", ["STREAM result AS", "STREAM o WITH (topic = 'result') AS", "TABLE result AS"])
def test_sink_that_a_bare_select_writes_too_is_refused(made: str) -> None:
    source, bare, named = "CREATE STREAM s (a INT);", "SELECT a FROM s;", f"CREATE {made} SELECT a FROM s;"
    with pytest.raises(SqlError, match="topic `result` is the sink of a bare SELECT"):
        App(f"{source}{bare}{named}")
    with pytest.raises(SqlError, match=r"topic `result` is the sink of `(result|o)`"):
        App(f"{source}{named}{bare}")
    for text in (f"{source}{named}", f"{source}{bare}{bare}", "CREATE STREAM result (a INT); SELECT a FROM result;"):
        App(text)


def test_dead_letters_are_those_of_the_app_with_this_name() -> None:
    text = "CREATE STREAM s (a INT); CREATE STREAM o WITH (topic = 'jobs-dead-letter') AS SELECT a FROM s;"
    assert App(text, "app")
    with pytest.raises(SqlError, match="topic `jobs-dead-letter` is for the dead letters of this app"):
        App(text, "jobs")

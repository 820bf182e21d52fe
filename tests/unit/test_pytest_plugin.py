"""The pytest plugin: test files are collected by their names, and nothing else notices that it is there."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

GOOD = """\
sql: CREATE STREAM s (a INT); SELECT a FROM s WHERE a > 1
tests:
  - name: large ones pass
    inputs: {s: [{a: 1}, {a: 2}]}
    expect: {result: [{a: 2}]}
"""


@pytest.fixture
def folder(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]")  # not the one of this repository
    return pytester


def write(folder: pytest.Pytester, name: str, text: str) -> None:
    (folder.path / name).write_text(text)


def test_test_files_are_collected_by_their_names(folder: pytest.Pytester) -> None:
    write(folder, "a.headrace.yaml", GOOD)
    write(folder, "b.headrace.yml", GOOD)
    statements = "CREATE STREAM s (a INT); SELECT a FROM s; INSERT INTO s VALUES (1); ASSERT VALUES result VALUES (1);"
    write(folder, "c.headrace.sql", f"--@test: first\n{statements}\n")
    write(folder, "other.yaml", "no: test")
    write(folder, "app.sql", "no test")
    result = folder.runpytest_subprocess("-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["a.headrace.yaml::large ones pass PASSED*", "*", "c.headrace.sql::first PASSED*"])


def test_failure_is_a_difference_without_a_traceback(folder: pytest.Pytester) -> None:
    write(
        folder,
        "a.headrace.yaml",
        GOOD.replace("{a: 2}]}\n    expect: {result: [{a: 2}", "{a: 2}]}\n    expect: {result: [{a: 3}"),
    )
    result = folder.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["`result`: record 1 differs", '  expected {"a":3}', '  got      {"a":2}', "* ^"])
    result.stdout.no_fnmatch_line("*yaml_cases.py*")


def test_wrong_file_is_an_error_of_collection_without_a_traceback(folder: pytest.Pytester) -> None:
    write(folder, "a.headrace.yaml", GOOD.replace("expect", "expct"))
    result = folder.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*a.headrace.yaml:5: unknown name `expct`; did you mean `expect`?"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_tests_are_chosen_by_name(folder: pytest.Pytester) -> None:
    write(folder, "a.headrace.yaml", GOOD + "  - {name: other, counts: {}}\n")
    folder.runpytest_subprocess("-k", "large").assert_outcomes(passed=1, deselected=1)


def test_nothing_is_imported_where_no_file_has_such_a_name(folder: pytest.Pytester) -> None:
    folder.makepyfile("""
        import sys

        def test_modules():
            assert "headrace.app.testing.pytest_plugin" in sys.modules
            heavy = {"sqlglot", "pydantic", "yaml", "msgspec", "headrace.app.testing.cases", "headrace.app.application"}
            assert not heavy & set(sys.modules)
    """)
    folder.runpytest_subprocess("-p", "no:hypothesispytest").assert_outcomes(passed=1)

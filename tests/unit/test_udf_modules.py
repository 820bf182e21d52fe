"""Modules with functions of the user's own, as the command line loads them: found, imported, refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.app.cli import run_command

SQL = """\
CREATE STREAM s (k VARCHAR, n BIGINT);
CREATE STREAM loud AS SELECT SHOUT(k) AS k, INVERSE(n) AS i FROM s;
"""
FUNCTIONS = """\
import headrace
from beside import mark

@headrace.udf
def shout(text: str) -> str:
    return text.upper() + mark

@headrace.udf
def inverse(n: int) -> float:
    return 1 / n
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an app and its functions; what is imported from there is forgotten afterwards."""
    (tmp_path / "app.sql").write_text(SQL)
    (tmp_path / "s.jsonl").write_text('{"k":"a","n":4}\n{"k":"b","n":0}\n')
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "functions.py").write_text(FUNCTIONS)
    (tmp_path / "own" / "beside.py").write_text("mark = '!'\n")
    monkeypatch.chdir(tmp_path)
    known, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)) or name == "own":
            del sys.modules[name]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], list[str]]:
    code = run_command(list(arguments))
    output = capsys.readouterr()
    return code, output.out.splitlines(), output.err.splitlines()


def test_file_with_functions_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "local", "app.sql", "--input", "s=s.jsonl", "--udf", "own/functions.py")
    assert code == 0
    assert [json.loads(line)["value"] for line in out] == [{"k": "A!", "i": 0.25}]
    letter = json.loads(err[0])
    assert (letter["class"], letter["cause"]) == ("udf", "INVERSE: ZeroDivisionError: division by zero")
    assert (letter["file"], letter["line"]) == ("s.jsonl", 2)


def test_module_in_the_current_folder_is_loaded_by_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "beside.py").write_text("mark = '?'\n")
    code, out, _ = run(capsys, "local", "app.sql", "--input", "s=s.jsonl", "--udf", "own.functions")
    assert code == 0
    assert json.loads(out[0])["value"]["k"] == "A?"


def test_several_modules_are_loaded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = FUNCTIONS.split("@headrace.udf\ndef inverse")
    (folder / "own" / "first.py").write_text(first)
    (folder / "second.py").write_text(f"import headrace\n@headrace.udf\ndef inverse{second}")
    arguments = ("check", "app.sql", "--udf", "own/first.py", "--udf", "second")
    assert run(capsys, *arguments) == (0, ["ok", "  loud: s → stream loud"], [])


@pytest.mark.parametrize("command", ["check", "explain"])
def test_modules_are_a_setting(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_UDF", "own/functions.py, own/functions.py")
    code, out, err = run(capsys, command, "app.sql")
    assert (code, err) == (0, [])
    assert command == "check" or "    Project SHOUT(k) AS k, INVERSE(n) AS i" in out


def test_modules_are_a_list_in_the_settings_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "settings.toml").write_text('udf = ["own/functions.py"]\n')
    assert run(capsys, "check", "app.sql", "--config", "settings.toml")[0] == 0


@pytest.mark.parametrize("name", ["nowhere", "own.nowhere", "nowhere.functions"])
def test_module_that_is_not_there_is_wrong_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "check", "app.sql", "--udf", name)
    assert (code, err[0]) == (2, f"error: --udf {name}: there is no such module")


def test_file_that_is_not_there_is_wrong_usage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "check", "app.sql", "--udf", "own/nowhere.py")
    assert (code, err) == (2, [f"error: --udf {folder}/own/nowhere.py: there is no such file"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "import headrace\n\n@headrace.udf\ndef f(x) -> int:\n    return 1\n",
            "line 3: F: parameter `x` has no type hint",
        ),
        ("def f(:\n", "line 1: SyntaxError: invalid syntax"),
        ("a = 1\nb = a / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", "line 2: JSONDecodeError: "),
        ("import nowhere_else\n", "line 1: ModuleNotFoundError: No module named 'nowhere_else'"),
    ],
)
@pytest.mark.parametrize("module", ["wrong.py", "wrong"])
def test_mistake_in_a_module_is_told_with_its_line(
    module: str, text: str, told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "wrong.py").write_text(text)
    code, out, err = run(capsys, "check", "app.sql", "--udf", module)
    assert (code, out) == (1, [])
    assert err[0].startswith(f"error: {folder}/wrong.py, {told}")


def test_two_functions_of_one_name_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "second.py").write_text("import headrace\n@headrace.udf\ndef shout(a: int) -> int:\n    return a\n")
    code, _, err = run(capsys, "check", "app.sql", "--udf", "own/functions.py", "--udf", "second.py")
    assert (code, err) == (1, ["error: SHOUT: two functions have this name"])


TESTS = """\
sql: |
  CREATE STREAM s (k VARCHAR, n BIGINT);
  CREATE STREAM loud AS SELECT SHOUT(k) AS k FROM s;
udf: [{module}]
tests:
  - name: loud
    inputs: {{s: [{{k: a}}]}}
    expect: {{loud: [{{k: A!}}]}}
"""
SQL_TEST = """\
CREATE STREAM s (k VARCHAR, n BIGINT);
CREATE STREAM loud AS SELECT SHOUT(k) AS k FROM s;
INSERT INTO s (k) VALUES ('a');
ASSERT VALUES loud (k) VALUES ('A!');
"""


def test_test_file_names_its_modules_from_its_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "own" / "app.headrace.yaml").write_text(TESTS.format(module="functions.py"))
    code, out, err = run(capsys, "test", "own/app.headrace.yaml")
    assert (code, err) == (0, [])
    assert json.loads(out[-1]) == {"passed": 1, "failed": 0}


def test_module_of_a_test_file_that_is_not_there_is_told_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "app.headrace.yaml").write_text(TESTS.format(module="nowhere"))
    code, _, err = run(capsys, "test", "app.headrace.yaml")
    assert (code, err[0]) == (1, "error: app.headrace.yaml:4: --udf nowhere: there is no such module")


def test_test_file_in_sql_takes_the_modules_of_the_flag(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "app.headrace.sql").write_text(SQL_TEST)
    assert run(capsys, "test", "app.headrace.sql", "--udf", "own/functions.py")[0] == 0
    assert run(capsys, "test", "app.headrace.sql")[0] == 1

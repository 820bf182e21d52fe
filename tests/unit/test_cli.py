"""The command line as a process sees it: exit codes, where output goes, and what refusals say."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from headrace.app.broker.process import free_port
from headrace.app.cli import run_command
from headrace.app.invocation import with_global_options_first


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HEADRACE_BOOTSTRAP_SERVERS", raising=False)


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out == f"headrace {version('headrace')}\n"


def test_help_of_every_command_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["broker"], ["broker", "start"], ["produce"], ["consume"], ["run"]):
        assert run_command([*command, "--help"]) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["consume"], ["consume", "t", "-n", "many"], ["broker", "start", "--port", "0"], ["--nonsense"]],
)
def test_wrong_usage_ends_with_2_and_says_so_on_stderr(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "Usage" in output.err


def test_wrong_settings_end_with_2_and_are_all_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["broker", "status", "--set", "wrokers=2", "--log-level", "loud"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "error: --set wrokers: no such setting; did you mean `workers`?" in lines
    assert any(line.startswith("error: --log-level: 'loud'") for line in lines)


@pytest.mark.parametrize(
    "command",
    ["consume t", "produce t --input app.sql", "infer t", "run app.sql", "topics app.sql", "reset app.sql", "server"],
)
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("no.such=1", 'No such configuration property: "no.such"'),
        ("reconnect.backoff.ms=x", 'Invalid value for configuration property "reconnect.backoff.ms"'),
    ],
)
def test_client_property_that_the_client_refuses_ends_with_2(
    command: str,
    given: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("app.sql").write_text("CREATE STREAM t (id BIGINT);\nCREATE STREAM u AS SELECT id FROM t;")
    code = run_command([*command.split(), "--set", f"kafka.{given}", "--set", f"http_port={free_port()}"])
    error = capsys.readouterr().err
    assert (code, told in error, "Traceback" in error) == (2, True, False), error


def test_duration_that_is_too_long_ends_with_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "app.sql").write_text("SELECT 1")
    assert run_command(["check", str(tmp_path / "app.sql"), "--set", "idle_timeout=99999999999d"]) == 2
    error = capsys.readouterr().err
    assert "error: --set idle_timeout: '99999999999d': the longest duration is 999999999d" in error
    assert "Traceback" not in error


def test_unreachable_kafka_ends_with_3_and_names_address_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert run_command(["consume", "t", "--bootstrap-servers", address]) == 3
    error = capsys.readouterr().err
    assert address in error
    assert "Connection refused" in error
    assert "headrace broker start" in error


def test_missing_input_file_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["produce", "t", "--input", "no-such-file.jsonl"]) == 1
    assert "no-such-file.jsonl: No such file or directory" in capsys.readouterr().err


def test_missing_sql_file_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "no-such-app.sql"]) == 1
    assert "no-such-app.sql: No such file or directory" in capsys.readouterr().err


def test_wrong_sql_ends_with_1_and_shows_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = tmp_path / "app.sql"
    sql.write_text("CREATE STREAM s (a INT) WITH (topic = 's');\nCREATE STREAM t AS SELECT b FROM s;\n")
    assert run_command(["run", str(sql)]) == 1
    error = capsys.readouterr().err
    assert f"{sql}:2:27" in error
    assert "Traceback" not in error


def test_status_without_a_broker_lists_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["broker", "status"]) == 0
    assert capsys.readouterr().out == ""


def test_stopping_what_does_not_run_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["broker", "stop", "--port", "1"]) == 2
    assert "no broker of this user runs on port 1" in capsys.readouterr().err


def test_global_options_may_stand_after_the_command() -> None:
    assert with_global_options_first(["produce", "t", "--set", "a=1", "--rate", "2", "--config=x.toml"]) == [
        "--set",
        "a=1",
        "--config=x.toml",
        "produce",
        "t",
        "--rate",
        "2",
    ]


def test_arguments_after_two_dashes_are_left_alone() -> None:
    assert with_global_options_first(["produce", "--", "--set"]) == ["produce", "--", "--set"]

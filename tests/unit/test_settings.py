"""Settings: types, precedence of their sources, and errors that are told all at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from headrace.app.errors import UsageError
from headrace.app.settings import Guarantee, LogLevel, Settings, parse_duration
from headrace.app.settings_sources import load_settings, settings_as_given
from headrace.sql.physical import Mode
from headrace.sql.plan import Changes


def load(tmp_path: Path, *, flags=None, sets=(), environ=None, file: str | None = None) -> Settings:
    config = None
    if file is not None:
        config = tmp_path / "headrace.toml"
        config.write_text(file)
    return load_settings(flags or {}, sets, config, environ or {})


def problems(tmp_path: Path, **sources) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, **sources)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200ms", timedelta(milliseconds=200)),
        ("5s", timedelta(seconds=5)),
        ("10m", timedelta(minutes=10)),
        ("1.5h", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
    ],
)
def test_duration_with_unit_is_read(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["5", "", "5 s", "-5s", "s", "5sec", 5, None])
def test_duration_in_another_form_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="200ms, 5s or 10m"):
        parse_duration(text)


def test_duration_of_nothing_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, sets=["commit_interval=0s"]) == [
        "--set commit_interval: '0s': must be longer than nothing"
    ]


def test_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    settings = load(tmp_path)

    assert settings.bootstrap_servers == "127.0.0.1:9092"
    assert settings.mode is Mode.PARTITIONED
    assert settings.guarantee is Guarantee.EXACTLY_ONCE
    assert settings.commit_interval == timedelta(milliseconds=200)
    assert settings.changes is Changes.EVERY
    assert settings.model_fields_set == set()


def test_flag_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    sources = {
        "file": 'workers = 2\nlog_level = "error"\nchanges = "latest"\n',
        "environ": {"HEADRACE_WORKERS": "3", "HEADRACE_LOG_LEVEL": "debug"},
        "flags": {"workers": 4, "mode": None},
    }

    settings = load(tmp_path, **sources)

    assert settings.workers == 4
    assert settings.log_level is LogLevel.DEBUG
    assert settings.changes is Changes.LATEST
    assert settings.mode is Mode.PARTITIONED
    assert settings.model_fields_set == {"workers", "log_level", "changes"}


def test_dedicated_flag_wins_over_set(tmp_path: Path) -> None:
    assert load(tmp_path, flags={"workers": 4}, sets=["workers=5"]).workers == 4


def test_client_properties_of_all_sources_are_merged(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        file='[kafka]\n"security.protocol" = "SASL_SSL"\nsasl.username = "file"\nsocket.keepalive.enable = true\n',
        environ={"HEADRACE_KAFKA_SASL_USERNAME": "environment"},
        sets=["kafka.sasl.password=secret=1"],
    )

    assert settings.client_config == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "SASL_SSL",
        "socket.keepalive.enable": "true",
        "sasl.username": "environment",
        "sasl.password": "secret=1",
    }


def test_all_wrong_settings_are_told_at_once_with_their_sources(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        file='emit = "sometimes"\nbogus = 1\n',
        environ={"HEADRACE_WORKERS": "none", "HEADRACE_LOGLEVEL": "info"},
        flags={"mode": "singel"},
        sets=["lat=drop", "commit_interval"],
    )

    assert {line.split(": ")[0] for line in found} == {
        f"{tmp_path / 'headrace.toml'}, emit",
        f"{tmp_path / 'headrace.toml'}, bogus",
        "environment variable HEADRACE_WORKERS",
        "environment variable HEADRACE_LOGLEVEL",
        "--mode",
        "--set lat",
        "--set commit_interval",
    }
    assert "--set lat: no such setting; did you mean `late`?" in found
    assert "environment variable HEADRACE_LOGLEVEL: no such setting; did you mean `log_level`?" in found
    assert "--set commit_interval: write --set key=value" in found


def test_exactly_once_with_uncommitted_reads_is_refused(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, sets=["kafka.isolation.level=read_uncommitted"])
    assert "exactly_once reads committed records only" in line
    given = ["kafka.isolation.level=read_uncommitted", "guarantee=at_least_once"]
    assert load(tmp_path, sets=given).guarantee is Guarantee.AT_LEAST_ONCE


@pytest.mark.parametrize("name", ["bootstrap.servers", "group.id", "transactional.id"])
def test_client_property_that_headrace_owns_is_refused(tmp_path: Path, name: str) -> None:
    (line,) = problems(tmp_path, sets=[f"kafka.{name}=x"])
    assert name in line


@pytest.mark.parametrize("servers", ["localhost", "a:b", "a:0", "a:70000", "a:1,", ""])
def test_bootstrap_servers_without_host_and_port_are_refused(tmp_path: Path, servers: str) -> None:
    (line,) = problems(tmp_path, flags={"bootstrap_servers": servers})
    assert "is not host:port" in line


def test_variables_of_the_broker_and_of_kubernetes_are_no_settings(tmp_path: Path) -> None:
    load(
        tmp_path,
        environ={
            "HEADRACE_HOME": "/x",
            "HEADRACE_TEST_BOOTSTRAP": "x",
            "HEADRACE_SERVICE_HOST": "10.0.0.1",
            "HEADRACE_SERVICE_PORT_HTTP": "80",
            "HEADRACE_METRICS_PORT": "tcp://10.0.0.1:80",
            "HEADRACE_PORT_80_TCP_ADDR": "10.0.0.1",
        },
    )


def test_file_that_is_missing_or_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_settings({}, config=tmp_path / "none.toml", environ={})
    assert "not a TOML file" in problems(tmp_path, file="workers: 2")[0]


def test_settings_given_to_another_process_ignore_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_WORKERS", "7")
    assert settings_as_given({"changes": "latest", "kafka": {"a": "b"}}).workers == 1


def test_wrong_setting_among_secrets_tells_none_of_them(tmp_path: Path) -> None:
    sets = ["kafka.isolation.level=read_uncommitted", "kafka.sasl.password=hunter2"]
    (line,) = problems(tmp_path, sets=sets)
    assert "exactly_once reads committed records only" in line
    assert "hunter2" not in line
    lines = problems(tmp_path, file="http_token = 4711\n")
    assert not any("4711" in line for line in lines)

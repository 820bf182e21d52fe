"""`headrace broker` with a real Kafka: start, status, stop, a taken port, two side by side, TLS with passwords."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.app import broker as brokers
from headrace.app.broker.properties import HOST
from headrace.app.cli import run_command
from headrace.app.errors import OutsideError, UsageError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[brokers.Home]:
    """A home of this test, which the command line uses too; what runs in it at the end is stopped."""
    jars = brokers.Home.of_user().jars
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    monkeypatch.setenv("HEADRACE_JARS", str(jars))
    yield brokers.Home(tmp_path, jars)
    for broker in brokers.running(brokers.Home(tmp_path, jars)):
        brokers.stop(broker)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    home = brokers.Home(tmp_path_factory.mktemp("secure"), brokers.Home.of_user().jars)
    broker = brokers.start(home, brokers.free_port(), brokers.Security.SECURE, lambda *_: None)
    yield broker
    brokers.stop(broker)


def start(home: brokers.Home) -> brokers.Broker:
    return brokers.start(home, brokers.free_port(), brokers.Security.PLAINTEXT, lambda *_: None)


def topics(config: Mapping[str, str], timeout_seconds: float = 5) -> set[str]:
    quiet = {"log_level": 0, "error_cb": lambda _: None}
    return set(AdminClient({**config, **quiet}).list_topics(timeout=timeout_seconds).topics)


def is_refused(config: Mapping[str, str]) -> bool:
    try:
        topics(config, timeout_seconds=2)
    except KafkaException:
        return True
    return False


def create_topic(config: Mapping[str, str], name: str) -> None:
    admin = AdminClient(dict(config))
    admin.create_topics([NewTopic(name, num_partitions=2)])[name].result(timeout=20)


def test_broker_lives_from_start_to_stop_and_keeps_its_topics(
    home: brokers.Home, capsys: pytest.CaptureFixture[str]
) -> None:
    def said() -> list[dict[str, object]]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    port = str(brokers.free_port())
    assert run_command(["broker", "start", "--port", port]) == 0
    (started,) = said()
    assert started["address"] == f"{HOST}:{port}"
    create_topic({"bootstrap.servers": f"{HOST}:{port}"}, "kept")

    assert run_command(["broker", "start", "--port", port]) == 0
    assert said() == [started], "a second start finds the first one"
    assert run_command(["broker", "status", "--port", port]) == 0
    assert said() == [started]

    assert run_command(["broker", "stop", "--port", port]) == 0
    assert said() == [started | {"state": "stopped"}]
    assert run_command(["broker", "status", "--port", port]) == 3
    assert run_command(["broker", "stop", "--port", port]) == 2
    capsys.readouterr()

    assert run_command(["broker", "start", "--port", port]) == 0
    assert "kept" in topics({"bootstrap.servers": f"{HOST}:{port}"})


def test_two_brokers_run_side_by_side(home: brokers.Home) -> None:
    first, second = start(home), start(home)
    create_topic(first.client_config, "only-here")
    assert "only-here" in topics(first.client_config)
    assert "only-here" not in topics(second.client_config)
    assert {broker.port for broker in brokers.running(home)} == {first.port, second.port}
    brokers.stop(first)
    assert [broker.port for broker in brokers.running(home)] == [second.port]


def test_taken_port_is_refused_with_a_remedy(home: brokers.Home, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert run_command(["broker", "start", "--port", port]) == 3
    error = capsys.readouterr().err
    assert f"port {port} is taken by another program" in error
    assert "--port" in error


def test_broker_that_fails_to_start_shows_the_end_of_its_log(home: brokers.Home) -> None:
    port = brokers.free_port()
    data = home.broker(port, brokers.Security.PLAINTEXT) / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=another\n")
    with pytest.raises(OutsideError, match="ended while starting") as caught:
        brokers.start(home, port, brokers.Security.PLAINTEXT, lambda *_: None)
    assert "node" in str(caught.value).lower()
    assert brokers.running(home) == []


def test_pid_file_of_a_dead_broker_is_not_believed(home: brokers.Home) -> None:
    directory = home.broker(1, brokers.Security.PLAINTEXT)
    directory.mkdir(parents=True)
    (directory / "broker.json").write_text('{"pid": 1}')
    assert brokers.running(home) == []


def test_secure_broker_lets_in_who_has_password_and_authority(secure: brokers.Broker) -> None:
    config = secure.client_config
    create_topic(config, "secret")
    assert "secret" in topics(config)
    assert is_refused(config | {"sasl.password": "guess"})
    assert is_refused(config | {"sasl.username": "nobody"})
    assert is_refused({"bootstrap.servers": secure.address})
    assert is_refused({name: value for name, value in config.items() if name != "ssl.ca.location"})


def test_secure_broker_is_reached_by_its_settings_file(
    secure: brokers.Broker, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"a":1}\n')
    settings = ("--config", str(secure.client_settings))

    assert run_command(["produce", "t", *settings, "--input", str(lines), "--partitions", "1"]) == 0
    assert run_command(["consume", "t", *settings, "--until-end"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["value"] == {"a": 1}

    assert run_command(["consume", "t", *settings, "--set", "kafka.sasl.password=guess"]) == 3
    assert "Authentication failed" in capsys.readouterr().err


def test_secure_broker_shows_its_secrets_to_nobody_else(secure: brokers.Broker) -> None:
    secret = secure.client_config["sasl.password"]
    readable = [path for path in secure.directory.rglob("*") if path.is_file() and secret in path.read_text("latin-1")]
    assert readable
    assert all(path.stat().st_mode & 0o077 == 0 for path in readable)


def test_other_security_on_the_port_of_a_running_broker_is_refused(home: brokers.Home) -> None:
    broker = start(home)
    with pytest.raises(UsageError, match="a plaintext broker runs on port"):
        brokers.start(home, broker.port, brokers.Security.SECURE, lambda *_: None)

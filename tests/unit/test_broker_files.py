"""The files and names that a development broker is made of: no process is started here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headrace.app.broker.home import Home, Security
from headrace.app.broker.jars import kafka_version, locked_jars
from headrace.app.broker.kafka_tools import new_cluster_id
from headrace.app.broker.properties import Credentials, client_toml, server_properties
from headrace.app.settings_sources import load_settings


def test_cluster_ids_are_16_bytes_and_never_look_like_an_option() -> None:
    ids = {new_cluster_id() for _ in range(2000)}
    assert len(ids) == 2000
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", each) for each in ids)


def test_every_jar_is_locked_by_its_checksum() -> None:
    jars = locked_jars()
    assert kafka_version() == "4.3.1"
    assert len({jar.file_name for jar in jars}) == len(jars)
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in jars)


def test_records_of_long_ago_are_not_deleted() -> None:
    assert "log.retention.ms=-1\n" in server_properties(1, 2, Path("/d"), None)


def test_plain_client_file_is_a_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "client.toml"
    path.write_text(client_toml(9092, None))
    assert load_settings({}, config=path, environ={}).client_config == {"bootstrap.servers": "127.0.0.1:9092"}


def test_secure_client_file_is_a_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "client.toml"
    path.write_text(client_toml(9092, Credentials("a", "b-_", tmp_path / "broker.pem", tmp_path / "ca.pem")))
    config = load_settings({}, config=path, environ={}).client_config
    assert config["sasl.password"] == "b-_"
    assert config["security.protocol"] == "SASL_SSL"


@pytest.mark.parametrize(
    ("environ", "directory", "jars"),
    [
        ({"XDG_CACHE_HOME": "/c"}, "/c/headrace", "/c/headrace/jars"),
        ({"HEADRACE_HOME": "/h"}, "/h", "/h/jars"),
        ({"HEADRACE_HOME": "/h", "HEADRACE_JARS": "/j"}, "/h", "/j"),
    ],
)
def test_home_follows_the_environment(environ: dict[str, str], directory: str, jars: str) -> None:
    assert Home.of_user(environ) == Home(Path(directory), Path(jars))


def test_secure_and_plain_broker_of_one_port_have_folders_of_their_own() -> None:
    home = Home(Path("/h"), Path("/j"))
    assert home.broker(1, Security.SECURE) != home.broker(1, Security.PLAINTEXT)

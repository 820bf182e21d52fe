"""What a job server with TLS, a token and passwords lets in, and that it tells its secrets to nobody."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException

import pytest
from tests.integration.edge_cluster import records_of
from tests.integration.job_server import JobServerProcess, Reply
from tests.integration.sql_app import unique_name

from headrace.agents.cluster import Cluster
from headrace.agents.config import WorkerConfig
from headrace.app.broker.credentials import credentials_in

TOKEN = "token-that-nobody-may-see"
PASSWORD = "password-that-nobody-may-see"
SQL = "CREATE STREAM s (a VARCHAR) WITH (topic = '{name}', partitions = 1); CREATE STREAM {sink} AS SELECT a FROM s;"


@pytest.fixture(scope="module")
def server(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobServerProcess]:
    """Logs all there is to log."""
    directory = tmp_path_factory.mktemp("secured")
    credentials = credentials_in(directory)
    settings = {
        "http_host": "0.0.0.0",
        "http_tls_certificate": str(credentials.broker_pem),
        "http_tls_key": str(credentials.broker_pem),
        "kafka.sasl.password": PASSWORD,
        "kafka.sasl.username": "nobody",
        "log_level": "debug",
    }
    tls = ssl.create_default_context(cafile=str(credentials.ca_pem))
    with JobServerProcess(broker, directory, "", settings, TOKEN, tls) as server:
        yield server


def test_request_without_tls_is_refused(server: JobServerProcess) -> None:
    with pytest.raises((OSError, HTTPException)):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health/live", timeout=10)


@pytest.mark.parametrize("given", [None, "Bearer guess", TOKEN])
def test_request_without_the_token_is_refused(server: JobServerProcess, given: str | None) -> None:
    for method, path in (("GET", "/jobs"), ("POST", "/jobs"), ("DELETE", "/jobs/x"), ("GET", "/openapi.json")):
        reply = server.ask(method, path, headers={"Authorization": given})
        assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_page_of_another_site_is_refused(server: JobServerProcess) -> None:
    assert server.ask("GET", "/jobs", headers={"Origin": "https://evil.example"}).status == 403
    assert server.ask("GET", "/jobs", headers={"Origin": server.url}).status == 200


def test_body_over_the_limit_is_refused(server: JobServerProcess) -> None:
    assert server.ask("POST", "/jobs", b" " * (8 * 1024 * 1024 + 1)).status == 413


@pytest.mark.parametrize(
    "name", ["state_dir", "kafka.sasl.password", "kafka", "udf", "http_token", "bootstrap_servers", "jobs_topic", "app"]
)
def test_job_cannot_set_what_is_the_servers(server: JobServerProcess, name: str) -> None:
    body = {"name": "greedy", "sql": SQL.format(name="x", sink="y"), "settings": {name: "z"}}
    reply = server.ask("POST", "/jobs", body)
    assert reply.status == 422
    assert f"`{name}` is" in reply.document["detail"]


def test_job_cannot_write_the_topics_of_the_server(server: JobServerProcess) -> None:
    for topic in (server.jobs_topic, server.events_topic):
        sql = f"CREATE STREAM s (a VARCHAR); CREATE STREAM t WITH (topic = '{topic}') AS SELECT a FROM s;"
        reply = server.ask("POST", "/jobs", {"name": "greedy", "sql": sql})
        assert reply.status == 422
        assert "is the server's own" in reply.document["detail"]


def test_secrets_are_in_no_reply_no_log_and_no_topic(server: JobServerProcess, broker: str) -> None:
    name = unique_name("job")
    server.deploy(name, SQL.format(name=name, sink="copy"))
    server.await_state(name, "running")
    body = json.dumps({"name": "wrong", "sql": "SELECT", "settings": {"kafka.sasl.password": "?"}}).encode()
    cluster = Cluster(WorkerConfig(broker, name, server.directory))
    replies: list[Reply] = [
        *(server.ask("GET", f"/jobs/{name}{path}") for path in ("", "/topology", "/dead-letters")),
        *(
            server.ask("GET", f"/jobs/{name}/explain?stage={each}")
            for each in ("logical", "physical", "topology", "code")
        ),
        *(server.ask("GET", path) for path in ("/jobs", "/relations", "/openapi.json", "/health/ready", "/nothing")),
        server.ask("POST", "/jobs", body),
        server.ask("POST", "/query", {"sql": "SELECT * FROM copy"}),
        server.ask("GET", "/jobs", headers={"Authorization": f"Basic {TOKEN}"}),
        server.ask("POST", f"/jobs/{name}/restart"),
        server.ask("POST", f"/jobs/{name}/stop"),
    ]
    server.await_state(name, "stopped")
    replies.append(server.ask("DELETE", f"/jobs/{name}"))
    told = [reply.body + str(reply.headers).encode() for reply in replies]
    assert {reply.status for reply in replies} >= {200, 204, 401, 404, 422}
    assert server.stop() == 0
    log = server.log_file.read_bytes()
    assert b"worker started" in log
    events = list(records_of(cluster, server.events_topic))
    records = [*records_of(cluster, server.jobs_topic), *events]
    assert {json.loads(event.value() or b"{}")["event"] for event in events} >= {"accepted", "running", "deleted"}
    written = [each for record in records for each in (record.key(), record.value(), repr(record.headers()).encode())]
    for text in (*told, *filter(None, written), log):
        assert TOKEN.encode() not in text
        assert PASSWORD.encode() not in text

"""Workers in the image, in a container as the chart has it, on a real broker: `make image-test`."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from tests.image.pod import FUNCTIONS_FILE, USER, VALUES, Pod, image_config
from tests.integration.edge_cluster import wait_until
from tests.integration.sql_app import RUN_DEADLINE_S, NewSqlApp, SqlApp, row
from tests.integration.test_lifecycle import IDS, assert_nothing_lost, live_producer

from headrace.app.udfs import load_modules

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(300),
    pytest.mark.skipif("HEADRACE_TEST_ROOT" not in os.environ, reason="`make image-test` builds the image for it"),
]

SQL = """
CREATE STREAM hits (id BIGINT, page VARCHAR KEY) WITH (topic = '{name}-in');
CREATE STREAM copies WITH (topic = '{name}-copies') AS SELECT id, upside_down(page) AS page FROM hits;
CREATE TABLE pages WITH (topic = '{name}-pages', changes = 'latest') AS
SELECT page, COUNT(*) AS n FROM hits GROUP BY page EMIT CHANGES;
"""
COPIES = "CREATE STREAM copies WITH (topic = '{name}-copies') AS SELECT id FROM hits;"
FUNCTIONS = """
import headrace

@headrace.udf
def upside_down(text: str) -> str:
    return text[::-1]
"""
RECORDS = [row(n % 4, key=b"p%d" % (n % 8), id=n, page=f"p{n % 8}") for n in range(4_000)]
GRACE_S = float(VALUES["terminationGracePeriodSeconds"])

NewPod = Callable[..., Pod]


@pytest.fixture
def new_pod() -> Iterator[NewPod]:
    pods: list[Pod] = []

    def start(app: SqlApp, **settings: str) -> Pod:
        pods.append(Pod.start(app, **settings))
        return pods[-1]

    yield start
    for pod in pods:
        pod.kill()


def created(new_sql_app: NewSqlApp, sql: str) -> SqlApp:
    """An app with the functions, and its topics."""
    app = new_sql_app(sql, 4)
    file = app.directory / FUNCTIONS_FILE
    file.write_text(FUNCTIONS)
    app.udfs = load_modules([str(file)])
    app.create_own_topics("--udf", FUNCTIONS_FILE)
    return app


def ids(app: SqlApp) -> Counter[int]:
    """How often each record was copied."""
    return Counter(copy["id"] for copy in app.rows(f"{app.name}-copies"))


def await_copies(app: SqlApp, pod: Pod, count: int) -> None:
    wait_until(lambda: pod.ended or ids(app).total() >= count, f"{count} copies", RUN_DEADLINE_S)
    assert not pod.ended, pod.log()


def assert_stops_in_time(pod: Pod) -> None:
    code, seconds = pod.terminate()
    assert code == 0, pod.log()
    assert seconds < GRACE_S


def test_sigterm_commits_what_was_done_so_that_nothing_is_done_again(new_sql_app: NewSqlApp, new_pod: NewPod) -> None:
    """Only the last commit can have made the offsets: the next one would come in an hour."""
    app = created(new_sql_app, SQL)
    settings = {"guarantee": "at_least_once", "commit_interval": "1h"}
    half = len(RECORDS) // 2
    app.produce(RECORDS[:half])
    pod = new_pod(app, **settings)
    await_copies(app, pod, half)
    assert sum(committed for committed, _ in app.lag().values()) == 0
    assert_stops_in_time(pod)
    assert not app.lag()

    app.produce(RECORDS[half:])
    pod = new_pod(app, **settings)
    await_copies(app, pod, len(RECORDS))
    assert_stops_in_time(pod)
    assert ids(app) == Counter(range(len(RECORDS)))
    pages = [json.loads(value) for value, _ in app.contents(f"{app.name}-pages").values()]
    assert {page["page"]: page["n"] for page in pages} == {f"p{n}": len(RECORDS) // 8 for n in range(8)}


def test_pods_that_follow_each_other_under_load_lose_and_repeat_nothing(
    new_sql_app: NewSqlApp, new_pod: NewPod
) -> None:
    app = created(new_sql_app, IDS + COPIES)
    with live_producer(app, 400) as produced:
        for _ in range(2):
            before = ids(app).total()
            pod = new_pod(app)
            await_copies(app, pod, before + 400)
            assert_stops_in_time(pod)
    pod = new_pod(app)
    app.await_caught_up(by=pod)
    assert_stops_in_time(pod)
    assert ids(app) == Counter(range(len(produced)))
    app.run_to_end()
    assert_nothing_lost(app, produced)


def test_health_check_of_the_image_works(new_sql_app: NewSqlApp, new_pod: NewPod) -> None:
    app = created(new_sql_app, SQL)
    pod = new_pod(app)
    kind, *command = image_config()["Healthcheck"]["Test"]
    assert kind == "CMD"
    healthy = pod.inside(*command)
    assert healthy.returncode == 0, healthy.stderr
    assert pod.inside(*command, HEADRACE_HTTP_PORT="1").returncode != 0, "nobody listens there"
    assert_stops_in_time(pod)


def test_worker_has_no_rights_and_writes_to_its_state_alone(new_sql_app: NewSqlApp, new_pod: NewPod) -> None:
    app = created(new_sql_app, SQL)
    app.produce(RECORDS)
    pod = new_pod(app)
    await_copies(app, pod, len(RECORDS))
    assert pod.inside("id", "-u").stdout.strip() == str(USER)
    assert pod.inside("grep", "CapEff", "/proc/1/status").stdout.split() == ["CapEff:", "0" * 16]
    assert pod.inside("cat", "/proc/1/cmdline").stdout.startswith("tini\0")
    refused = pod.inside("touch", "/opt/headrace/new")
    assert "Read-only file system" in refused.stderr
    assert pod.inside("find", "/tmp", "-type", "f").stdout == ""
    assert_stops_in_time(pod)
    owners = {file.stat().st_uid for file in app.state.rglob("*")}
    assert owners == {USER}

"""The job server as users have it: a process, its HTTP API, its topics, its client, on a real broker."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import requests
from confluent_kafka import Producer
from tests.integration.edge_cluster import IN_ORDER, wait_until
from tests.integration.job_server import DEADLINE_S, JobServerProcess, NewServer
from tests.integration.sql_app import NewSqlApp, SqlApp, row

SQL = """\
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, qty BIGINT) WITH (topic = '{name}-in');
CREATE TABLE counts WITH (topic = '{name}-counts') AS
  SELECT symbol, COUNT(*) AS n, SUM(qty) AS total FROM trades GROUP BY symbol;
"""
BIG = "CREATE STREAM big WITH (topic = '{name}-big') AS SELECT symbol, qty FROM trades WHERE qty > {least};\n"


@pytest.fixture
def app(new_sql_app: NewSqlApp) -> SqlApp:
    """The topics and the data of a job; the server runs it."""
    return new_sql_app(SQL)


def trades(count: int, first: int = 0) -> list[Any]:
    return [row(n % 4, symbol=f"s{n % 5}", price=1.5, qty=n % 20) for n in range(first, first + count)]


def totals(server: JobServerProcess, app: SqlApp) -> dict[str, tuple[int, int]]:
    rows = server.answer("GET", f"/tables/{app.name}.counts?limit=1000")["rows"]
    return {each["symbol"]: (each["n"], each["total"]) for each in rows}


def expected(count: int) -> dict[str, tuple[int, int]]:
    values: dict[str, list[int]] = {}
    for n in range(count):
        values.setdefault(f"s{n % 5}", []).append(n % 20)
    return {symbol: (len(each), sum(each)) for symbol, each in values.items()}


def await_totals(server: JobServerProcess, app: SqlApp, count: int) -> None:
    wait_until(lambda: totals(server, app) == expected(count), f"results of {count} records", DEADLINE_S)


def test_a_job_outlives_a_killed_server_and_nothing_is_lost_or_repeated(new_server: NewServer, app: SqlApp) -> None:
    server = new_server()
    dry = server.deploy(app.name, app.sql, 200, "?dry_run=true")
    assert (dry["verdict"], dry["dry_run"]) == ("new", True)
    assert server.answer("GET", "/jobs") == {"jobs": []}
    server.deploy(app.name, app.sql)
    server.await_state(app.name, "running")
    app.produce(trades(1000))
    await_totals(server, app, 1000)
    server.kill()
    app.produce(trades(500, 1000))
    server.start()
    job = server.await_state(app.name, "running")
    assert (job["version"], job["wanted"]) == (1, "running")
    await_totals(server, app, 1500)
    assert server.stop() == 0


def test_jobs_are_deployed_by_their_topic_and_bad_ones_refused_there(new_server: NewServer, app: SqlApp) -> None:
    server = new_server()
    producer = Producer({"bootstrap.servers": app.bootstrap, **IN_ORDER})

    def write(name: str, value: object) -> None:
        producer.produce(f"{server.name}-jobs", json.dumps(value), name)
        assert producer.flush(10) == 0

    write(app.name, {"sql": app.sql})
    wait_until(lambda: bool(server.answer("GET", "/jobs")["jobs"]), "the job is there", DEADLINE_S)
    write(app.name, {"sql": "SELEKT 1"})
    write("other", {"sql": app.sql, "settings": {"state_dir": "/tmp"}})
    write("a b", {"sql": app.sql})

    def refused() -> dict[str, str]:
        return {event["job"]: event["reason"] for event in server.events() if event["event"] == "refused"}

    wait_until(lambda: len(refused()) == 3, "three records are refused", DEADLINE_S)
    reasons = refused()
    assert "SELEKT" in reasons[app.name]
    assert "`state_dir` is the server's to set" in reasons["other"]
    assert "is no name of a job" in reasons["a b"]
    job = server.await_state(app.name, "running")
    assert job["sql"] == app.sql
    write(app.name, {"sql": app.sql.replace("SUM", "MAX"), "version": 1})
    wait_until(lambda: "is not newer" in refused()[app.name], "an old version is refused", DEADLINE_S)
    # The newest record of the name is a right one again: a new server takes it.
    server.stop()
    server.start()
    assert [job["name"] for job in server.answer("GET", "/jobs")["jobs"]] == [app.name]
    assert server.await_state(app.name, "running")["sql"] == app.sql


def test_pause_resume_stop_restart_delete(new_server: NewServer, app: SqlApp) -> None:
    server = new_server()
    server.deploy(app.name, app.sql)
    server.await_state(app.name, "running")
    app.produce(trades(100))
    await_totals(server, app, 100)

    assert server.answer("POST", f"/jobs/{app.name}/pause")["wanted"] == "paused"
    (worker,) = server.await_state(app.name, "paused")["status"]
    assert worker["paused"]
    app.produce(trades(100, 100))
    positions = [each["position"] for task in worker["tasks"] for each in task["inputs"]]
    (later,) = server.job(app.name)["status"]
    assert [each["position"] for task in later["tasks"] for each in task["inputs"]] == positions
    assert totals(server, app) == expected(100)

    server.answer("POST", f"/jobs/{app.name}/resume")
    await_totals(server, app, 200)
    server.answer("POST", f"/jobs/{app.name}/stop")
    assert server.await_state(app.name, "stopped")["status"] == []
    server.answer("POST", f"/jobs/{app.name}/pause", 409)
    app.produce(trades(100, 200))
    server.answer("POST", f"/jobs/{app.name}/restart")
    await_totals(server, app, 300)

    reader = f"CREATE STREAM c (n BIGINT) WITH (topic = '{app.name}-counts'); CREATE STREAM d AS SELECT n FROM c;"
    server.deploy(f"{app.name}-reader", reader)
    assert f"{app.name}-reader" in server.answer("DELETE", f"/jobs/{app.name}?topics=all", 409)["detail"]
    internal = {name for name in app.admin.list_topics().topics if name.startswith(f"{app.name}-counts-")}
    assert internal
    server.answer("DELETE", f"/jobs/{app.name}", 204)
    server.answer("GET", f"/jobs/{app.name}", 404)
    left = app.admin.list_topics().topics.keys()
    assert not internal & left
    assert f"{app.name}-counts" in left
    assert not (server.directory / "state" / app.name).exists()


def test_a_changed_text_is_judged_and_a_compatible_one_goes_on(new_server: NewServer, app: SqlApp) -> None:
    server = new_server()
    first = app.sql + BIG.format(name=app.name, least=10)
    server.deploy(app.name, first)
    server.await_state(app.name, "running")
    app.produce(trades(200))
    await_totals(server, app, 200)

    second = app.sql + BIG.format(name=app.name, least=15)
    assert server.deploy(app.name, second, 200)["verdict"] == "compatible"
    app.produce(trades(200, 200))
    await_totals(server, app, 400)
    server.await_state(app.name, "running")

    filtered = app.sql.replace("GROUP BY", "WHERE qty > 9 GROUP BY")
    problem = server.deploy(app.name, filtered, 409)
    assert "needs_rebuild" in problem["detail"]
    assert server.deploy(app.name, filtered, 200, "?dry_run=true")["verdict"] == "needs_rebuild"
    assert server.job(app.name)["sql"] == second

    rebuilt = server.deploy(app.name, filtered, 200, "?rebuild=true")
    assert rebuilt["generation"] == 1
    values = [n % 20 for n in range(400)]
    wanted = {
        f"s{s}": (len(each), sum(each))
        for s in range(5)
        if (each := [value for n, value in enumerate(values) if n % 5 == s and value > 9])
    }
    wait_until(lambda: totals(server, app) == wanted, "results of the rebuilt job", DEADLINE_S)

    def changelogs(of: str) -> list[str]:
        topics = app.admin.list_topics().topics
        return [name for name in topics if name.startswith(f"{of}-") and name.endswith("-changelog")]

    wait_until(lambda: not changelogs(app.name), "what the old version has left is gone", DEADLINE_S)
    assert changelogs(f"{app.name}.1")


def test_a_job_that_keeps_failing_is_failed_and_harms_no_other(new_server: NewServer, new_sql_app: NewSqlApp) -> None:
    server = new_server()
    good, bad = new_sql_app(SQL), new_sql_app(SQL)
    server.deploy(good.name, good.sql)
    server.await_state(good.name, "running")
    server.deploy(bad.name, bad.sql, settings={"on_error": "fail"})
    bad.produce([row(0, symbol="s", price=1.0, qty="many")])
    job = server.await_state(bad.name, "failed")
    assert "qty" in job["reason"]
    assert [event["event"] for event in server.events() if event["job"] == bad.name][-1] == "failed"
    good.produce(trades(100))
    await_totals(server, good, 100)
    # What is mended is deployed, and runs.
    server.deploy(bad.name, bad.sql, 200)
    server.await_state(bad.name, "running")


def test_tables_and_streams_are_asked(new_server: NewServer, app: SqlApp) -> None:
    server = new_server()
    server.deploy(app.name, app.sql + BIG.format(name=app.name, least=15))
    server.await_state(app.name, "running")
    app.produce(trades(100))
    await_totals(server, app, 100)
    table = "counts"
    assert server.answer("GET", f"/tables/{table}/s3")["rows"] == [
        {"symbol": "s3", "n": 20, "total": expected(100)["s3"][1]}
    ]
    server.answer("GET", f"/tables/{table}/none", 404)
    server.answer("GET", "/tables/big", 404)
    asked = server.answer(
        "POST", "/query", document={"sql": f"SELECT symbol FROM {table} WHERE total > 160 AND n = 20"}
    )
    assert sorted(each["symbol"] for each in asked["rows"]) == [
        s for s, (_, total) in expected(100).items() if total > 160
    ]
    summed = server.answer("POST", "/query", document={"sql": f"SELECT SUM(n) AS s FROM {table}"})
    assert summed["rows"] == [{"s": 100}]
    wrong = server.answer("POST", "/query", 422, document={"sql": f"SELECT symbl FROM {table}"})
    assert "did you mean `symbol`" in wrong["detail"]
    server.answer("POST", "/query", 422, document={"sql": "SELECT qty FROM big"})

    question = {"sql": "SELECT qty + 1 AS more FROM big WHERE qty > 18"}
    with requests.post(
        f"{server.url}/query", json=question, headers={"Accept": "text/event-stream"}, stream=True, timeout=30
    ) as answer:
        lines = answer.iter_lines(chunk_size=1)
        assert next(lines) == b": listening"
        app.produce(trades(40))
        data = (line for line in lines if line.startswith(b"data:"))
        assert [next(data), next(data)] == [b'data: {"more":20}'] * 2


def test_two_servers_share_a_job(new_server: NewServer, app: SqlApp) -> None:
    first = new_server()
    second = new_server(name=first.name)
    first.deploy(app.name, app.sql)
    for server in (first, second):
        server.await_state(app.name, "running")

    def owned(server: JobServerProcess) -> set[tuple[str, int]]:
        statuses = server.job(app.name)["status"]
        return {(task["stage"], task["partition"]) for status in statuses for task in status["tasks"]}

    def is_shared() -> bool:
        one, other = owned(first), owned(second)
        return bool(one) and bool(other) and not one & other and len(one | other) == 8

    wait_until(is_shared, "both servers have tasks", DEADLINE_S)
    app.produce(trades(300))
    await_totals(second, app, 300)
    first.kill()
    app.produce(trades(300, 300))
    await_totals(second, app, 600)


def test_the_client_deploys_watches_and_deletes(new_server: NewServer, app: SqlApp) -> None:
    server = new_server()
    assert json.loads(server.client("deploy", str(app.file), "--dry-run"))["verdict"] == "new"
    assert json.loads(server.client("deploy", str(app.file), "--with", "commit_interval=50ms"))["version"] == 1
    server.await_state(app.name, "running")
    app.produce(trades(10))
    await_totals(server, app, 10)
    (listed,) = (json.loads(line) for line in server.client("list").splitlines())
    assert (listed["name"], listed["state"]) == (app.name, "running")
    assert json.loads(server.client("status", app.name))["settings"] == {"commit_interval": "50ms"}
    table = server.client("list", "--output", "table").splitlines()
    assert [cell.strip() for cell in table[2].split("┃")[1:3]] == ["job", "state"]
    assert [cell.strip() for cell in table[4].split("│")[1:3]] == [app.name, "running"]
    assert server.client("status", app.name, "--output", "table").startswith(f"job {app.name}")
    assert "stateful" in server.client("explain", app.name)
    rows = server.client("query", "SELECT COUNT(*) AS c FROM counts")
    assert json.loads(rows) == {"c": 5}
    assert server.client("pause", app.name, "--output", "table") == f"{app.name} version 2 is to be paused\n"
    assert json.loads(server.client("stop", app.name))["wanted"] == "stopped"
    assert "no job" in server.client("status", "none", code=1)
    wrong = server.directory / "wrong.sql"
    wrong.write_text(app.sql.replace("SUM(qty)", "SUM(quantity)"))
    told = server.client("deploy", str(wrong), "--name", "wrong", code=1)
    assert "known: symbol, price, qty" in told
    assert "^^^" in told
    assert "give --yes" in server.client("delete", app.name, code=2)
    server.client("delete", app.name, "--yes", "--topics", "all")
    assert f"{app.name}-counts" not in app.admin.list_topics().topics
    server.stop()
    assert "no job server answers" in server.client("list", code=3)


def test_workers_end_with_their_server(new_server: NewServer, app: SqlApp) -> None:
    server = new_server()
    server.deploy(app.name, app.sql)
    server.await_state(app.name, "running")
    started = [json.loads(line) for line in server.log_file.read_text().splitlines() if "worker started" in line]
    pids = [event["pid"] for event in started]
    assert pids
    server.kill()

    def is_gone(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(lambda: all(map(is_gone, pids)), "the workers are gone", 30)

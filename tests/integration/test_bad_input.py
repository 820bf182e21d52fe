"""Bad input on Kafka, each kind once: a dead letter or a clear error, nothing lost, nothing that hangs."""

from __future__ import annotations

import json
import time

import pytest
from tests.integration.sql_app import Input, NewSqlApp, row

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

COUNTED = """
CREATE STREAM events (k VARCHAR NOT NULL, n BIGINT, note VARCHAR) WITH (topic = '{name}-in');
CREATE TABLE counted WITH (topic = '{name}-out', partitions = 1{options}) AS
SELECT k, COUNT(*) AS records, SUM(n) AS total, MAX(note) AS note FROM events GROUP BY k EMIT CHANGES;
"""
GOOD = [row(0, k="a", n=1), row(1, k="a", n=2), row(1, k="b", n=3)]
BAD = {
    "malformed": Input(0, b"key-0", b'{"k": "a", "n"', headers=(("trace", b"7"), ("trace", b"8"))),
    "type": Input(1, b"key-1", b'{"k": "a", "n": "1"}', headers=(("who", b"me"),)),
    "null": Input(0, None, b'{"n": 1}'),
    "tombstone": Input(1, b"a", None),
}


def last_rows(app_contents: dict) -> dict[str, tuple[int, int]]:
    rows = [json.loads(value) for value, _ in app_contents.values()]
    return {row["k"]: (row["records"], row["total"]) for row in rows}


def test_bad_records_become_dead_letters_and_the_others_count(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(COUNTED.replace("{options}", ""), partitions=2)
    app.produce([GOOD[0], *BAD.values(), *GOOD[1:]])
    app.run_to_end()
    assert last_rows(app.contents(f"{app.name}-out")) == {"a": (2, 3), "b": (1, 3)}
    letters = {headers["headrace.error.class"]: (key, value, headers) for key, value, headers in app.dead_letters()}
    assert letters.keys() == BAD.keys()
    for kind, record in BAD.items():
        key, value, headers = letters[kind]
        assert (key, value) == (record.key, record.value)
        assert dict(record.headers).keys() <= headers.keys()
        assert headers["headrace.error.topic"] == app.source
        assert headers["headrace.error.partition"] == str(record.partition)
        assert headers["headrace.error.offset"].isdigit()
        assert headers["headrace.error.query"] == "counted"
        assert headers["headrace.error.message"]


def test_bad_record_stops_an_app_that_wants_it_before_anything_past_it_is_committed(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(COUNTED.replace("{options}", ", on_error = 'fail'"), partitions=1)
    app.produce([row(0, k="a", n=1), Input(0, None, b"{"), row(0, k="a", n=2)])
    code, log = app.refused("--until-end")
    assert code == 1
    assert f"topic {app.source}, partition 0, offset 1" in log
    assert app.dead_letters() == []
    committed = app.cluster.committed_so_far(app.inputs())
    assert all(position.next_offset <= 1 for position in committed.values())


def test_result_that_its_topic_does_not_take_becomes_a_dead_letter(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(COUNTED.replace("{options}", ""), partitions=1)
    app.create_topic(f"{app.name}-out", 1, max_message_bytes="2000", retention_ms="-1")
    app.produce([row(0, k="a", n=1), row(0, k="b", n=1, note="x" * 5_000), row(0, k="a", n=2)])
    app.run_to_end()
    assert last_rows(app.contents(f"{app.name}-out")) == {"a": (2, 3)}
    ((key, value, headers),) = app.dead_letters()
    assert key == b"b"
    assert value is not None
    assert json.loads(value)["note"] == "x" * 5_000
    assert headers["headrace.error.class"] == "RecordTooLarge"


def test_declared_partitions_that_the_topic_has_not_end_with_3(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(COUNTED.replace("{options}", "").replace("'{name}-in'", "'{name}-in', partitions = 3"), 2)
    code, log = app.refused()
    assert code == 3
    assert f"'{app.source}' has 2 partitions, the app needs 3" in log


def test_unknown_column_ends_with_1_and_is_pointed_at(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(COUNTED.replace("{options}", "").replace("MAX(note)", "MAX(notes)"), partitions=1)
    code, log = app.refused()
    assert code == 1
    assert "^" in log
    assert f"{app.name}.sql:4" in log
    assert "did you mean `note`" in log


def test_unreachable_broker_ends_with_3_soon_and_is_named(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(COUNTED.replace("{options}", ""), partitions=1)
    app.environment = {"HEADRACE_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    started = time.monotonic()
    code, log = app.refused(deadline_s=20.0)
    assert code == 3
    assert "127.0.0.1:1" in log
    assert time.monotonic() - started < 15


def test_disk_that_is_full_ends_a_worker_with_a_clear_error_and_loses_nothing(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(COUNTED.replace("{options}", ""), partitions=2)
    records = [row(number % 2, k=f"key {number}", n=number) for number in range(20_000)]
    app.create_own_topics()
    worker = app.worker(file_bytes_max=60_000)
    app.produce(records)
    assert worker.exit_code() == 3, worker.log()
    (failed,) = worker.events("worker failed")
    assert str(app.state) in failed["error"]
    assert "exception" not in failed
    app.run_to_end()
    rows = last_rows(app.contents(f"{app.name}-out"))
    assert {int(key.removeprefix("key ")): total for key, (_, total) in rows.items()} == {
        number: number for number in range(20_000)
    }

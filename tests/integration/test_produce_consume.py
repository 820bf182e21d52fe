"""`headrace produce` and `headrace consume` against a real broker."""

from __future__ import annotations

import gzip
import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from headrace.app.cli import run_command


@pytest.fixture
def topic() -> str:
    return f"records-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def headrace(broker: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple]:
    """Runs a command line; returns its exit code, the JSON lines of stdout, and stderr."""
    monkeypatch.setenv("HEADRACE_BOOTSTRAP_SERVERS", broker)

    def run(*arguments: str, stdin: bytes = b"") -> tuple[int, list[dict], str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run_command(list(arguments))
        output = capfd.readouterr()
        return code, [json.loads(line) for line in output.out.splitlines()], output.err

    return run


def test_lines_come_back_as_envelopes_in_order(headrace: Callable[..., tuple], topic: str) -> None:
    lines = b'{"n":1,"price":1.10}\n\n{"n":2,"price":null}\n'

    assert headrace("produce", topic, "--partitions", "1", stdin=lines) == (0, [{"topic": topic, "records": 2}], "")
    code, records, _ = headrace("consume", topic, "--until-end")

    assert code == 0
    assert [(r["topic"], r["partition"], r["offset"], r["key"], r["headers"]) for r in records] == [
        (topic, 0, 0, None, {}),
        (topic, 0, 1, None, {}),
    ]
    assert [r["value"] for r in records] == [{"n": 1, "price": 1.1}, {"n": 2, "price": None}]
    assert all(r["timestamp"] > 1_700_000_000_000 for r in records)


def test_value_bytes_are_kept_as_they_are(headrace, topic: str, capfd: pytest.CaptureFixture[str]) -> None:
    exact = b'{ "price":1.100000000000000000001}'
    headrace("produce", topic, "--partitions", "1", stdin=exact)
    run_command(["consume", topic, "-n", "1"])
    assert exact.decode() in capfd.readouterr().out


def test_key_field_becomes_the_plain_text_of_the_key(headrace: Callable[..., tuple], topic: str) -> None:
    lines = b'{"k":"a b"}\n{"k":7}\n{"k":null}\n{"k":true}\n{"k":"a b"}\n'
    headrace("produce", topic, "--partitions", "3", "--key", "k", stdin=lines)
    _, records, _ = headrace("consume", topic, "--until-end")
    assert sorted(str(r["key"]) for r in records) == ["7", "None", "a b", "a b", "true"]
    assert len({r["partition"] for r in records if r["key"] == "a b"}) == 1


def test_compressed_file_is_read(headrace: Callable[..., tuple], topic: str, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(b'{"n":%d}\n' % n for n in range(5000))))
    code, done, _ = headrace("produce", topic, "--partitions", "4", "--input", str(path))
    assert (code, done) == (0, [{"topic": topic, "records": 5000}])
    _, records, _ = headrace("consume", topic, "--until-end")
    assert sorted(r["value"]["n"] for r in records) == list(range(5000))
    assert {r["partition"] for r in records} == {0, 1, 2, 3}


def test_broken_compressed_file_ends_with_1(headrace: Callable[..., tuple], topic: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"n":1}\n' * 100)[:-12])
    code, _, error = headrace("produce", topic, "--partitions", "1", "--input", str(path))
    assert code == 1
    assert "not a whole gzip file" in error


@pytest.mark.parametrize(
    ("line", "told"),
    [(b"x", "not JSON"), (b"[1]", "not a JSON object"), (b'{"j":1}', "no field `k`"), (b'{"k":NaN}', "not JSON")],
)
def test_bad_line_ends_with_1_and_is_named(headrace, topic: str, line: bytes, told: str) -> None:
    code, _, error = headrace("produce", topic, "--partitions", "1", "--key", "k", stdin=b'{"k":1}\n' + line + b"\n")
    assert code == 1
    assert "stdin:2" in error
    assert told in error
    _, records, _ = headrace("consume", topic, "--until-end")
    assert [r["value"] for r in records] == [{"k": 1}], "what stands before the bad line was sent"


def test_record_that_is_too_large_ends_with_1_and_is_named(headrace: Callable[..., tuple], topic: str) -> None:
    code, _, error = headrace("produce", topic, "--partitions", "1", stdin=b'{"x":"' + b"x" * 2_000_000 + b'"}')
    assert code == 1
    assert "stdin:1" in error
    assert "size" in error.lower()


def test_missing_topic_is_an_error_and_is_not_created(headrace: Callable[..., tuple], topic: str) -> None:
    for command in ("produce", "consume"):
        code, _, error = headrace(command, topic)
        assert code == 3
        assert f"topic {topic} does not exist" in error


def test_other_partition_count_than_the_topic_has_is_refused(headrace: Callable[..., tuple], topic: str) -> None:
    headrace("produce", topic, "--partitions", "2")
    assert headrace("produce", topic, "--partitions", "2")[0] == 0
    code, _, error = headrace("produce", topic, "--partitions", "3")
    assert code == 2
    assert "exists with 2 partitions, not 3" in error


def test_consume_ends_after_n_records(headrace: Callable[..., tuple], topic: str) -> None:
    headrace("produce", topic, "--partitions", "1", stdin=b'{"n":1}\n{"n":2}\n{"n":3}\n')
    _, records, _ = headrace("consume", topic, "-n", "2")
    assert [r["value"]["n"] for r in records] == [1, 2]


def test_consume_shows_tombstones_headers_and_bytes(headrace: Callable[..., tuple], topic: str, broker: str) -> None:
    headrace("produce", topic, "--partitions", "1")
    other = Producer({"bootstrap.servers": broker})
    other.produce(topic, None, b'{"a":1,"b":2}', headers=[("h", b"1"), ("h", b"2"), ("g", b"3")])
    other.produce(topic, b"\xff", b"\xfe")
    other.flush()
    _, (tombstone, binary), _ = headrace("consume", topic, "--until-end")
    assert (tombstone["key"], tombstone["value"]) == ({"a": 1, "b": 2}, None)
    assert tombstone["headers"] == {"h": ["1", "2"], "g": "3"}
    assert (binary["key"], binary["value"]) == ({"base64": "/g=="}, {"base64": "/w=="})


def test_consume_shows_committed_transactions_only(headrace: Callable[..., tuple], topic: str, broker: str) -> None:
    headrace("produce", topic, "--partitions", "1")
    other = Producer({"bootstrap.servers": broker, "transactional.id": topic})
    other.init_transactions(20)
    for value, end in ((b'{"n":1}', other.commit_transaction), (b'{"n":2}', other.abort_transaction)):
        other.begin_transaction()
        other.produce(topic, value)
        other.flush()
        end()
    _, records, _ = headrace("consume", topic, "--until-end")
    assert [r["value"]["n"] for r in records] == [1]


def test_rate_spreads_records_over_time(headrace: Callable[..., tuple], topic: str) -> None:
    headrace("produce", topic, "--partitions", "1", "--rate", "50", stdin=b'{"n":1}\n' * 11)
    _, records, _ = headrace("consume", topic, "--until-end")
    assert records[-1]["timestamp"] - records[0]["timestamp"] >= 190

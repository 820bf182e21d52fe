"""Jobs as records of their topic: what is taken, what is refused and why."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.app.server.jobs import Job, JobRecord, Jobs, Refused, Wanted, changed, read_name, read_record
from headrace.app.settings_sources import load_settings

SQL = "CREATE STREAM s (a INT) WITH (topic = 's')"


def record(**fields: object) -> JobRecord:
    return read_record(orjson.dumps({"sql": SQL, **fields}))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "the value is not JSON"),
        (b"[1]", "the value is not a JSON object"),
        (b"{}", "sql: Field required"),
        (b'{"sql": ""}', "sql: String should have at least 1 character"),
        (b'{"sql": "x", "sequel": 1}', "sequel: Extra inputs are not permitted"),
        (b'{"sql": "x", "mode": "fast"}', "mode: Input should be 'single' or 'partitioned'"),
        (b'{"sql": "x", "workers": 0}', "workers: Input should be greater than or equal to 1"),
        (b'{"sql": "x", "workers": true}', "workers: Input should be a valid integer"),
        (b'{"sql": "x", "version": 0}', "version: "),
        (b'{"sql": "x", "wanted": "gone"}', "wanted: "),
        (b'{"sql": "x", "generation": 1, "replaces": {"sql": "y", "generation": 1}}', "of a smaller generation"),
        (b'{"sql": "x", "switched_by": "me"}', "switched_by goes with replaces"),
        (b'{"sql": "x", "settings": {"comit_interval": "1s"}}', "did you mean `commit_interval`"),
        (b'{"sql": "x", "settings": {"state_dir": "/etc"}}', "`state_dir` is the server's to set"),
        (b'{"sql": "x", "settings": {"kafka": "x"}}', "`kafka` is the server's to set"),
        (b'{"sql": "x", "settings": {"commit_interval": "soon"}}', "commit_interval: a duration is"),
        (b'{"sql": "x", "settings": {"parallelism": "0"}}', "parallelism: "),
    ],
)
def test_a_bad_value_is_refused_with_its_reason(value: bytes, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        read_record(value)
    assert reason in str(refused.value)


@pytest.mark.parametrize("key", [None, b"", b"a b", b"../x", b".hidden", b"\xff", b"a" * 91])
def test_a_key_that_is_no_name_is_refused(key: bytes | None) -> None:
    with pytest.raises(Refused):
        read_name(key)


def test_a_record_without_a_version_is_the_next_one() -> None:
    jobs = Jobs()
    first = jobs.next("a", record())
    assert first is not None
    jobs.put(first)
    second = jobs.next("a", record())
    assert (first.version, second and second.version) == (1, 2)


def test_a_record_without_a_version_has_the_same_one_for_who_saw_less() -> None:
    seen, unseen = Jobs(), Jobs()
    first = seen.next("a", record(), 4)
    assert first is not None
    seen.put(first)
    assert seen.next("a", record(workers=2), 7) == unseen.next("a", record(workers=2), 7)


def test_a_record_from_who_did_not_know_the_newest_version_is_refused() -> None:
    jobs = Jobs()
    jobs.put(Job("a", record(version=3)))
    with pytest.raises(Refused, match="version 3 is not newer than 3"):
        jobs.next("a", record(version=3, workers=2))
    assert jobs.next("a", record(version=3)) is None
    assert jobs.next("a", record(version=4, workers=2)) == Job("a", record(version=4, workers=2))


@given(
    wanted=st.sampled_from(Wanted),
    workers=st.integers(1, 64),
    generation=st.integers(0, 9),
    settings=st.sampled_from([{}, {"commit_interval": "1s"}, {"parallelism": "3", "emit": "final"}]),
)
def test_a_job_reads_back_from_its_record(
    wanted: Wanted, workers: int, generation: int, settings: dict[str, str]
) -> None:
    job = Job("a", record(version=2, wanted=wanted, workers=workers, generation=generation, settings=settings))
    assert read_record(job.to_record()) == job.record
    assert changed(job, wanted=Wanted.STOPPED).version == 3


def test_settings_of_a_job_come_before_those_of_the_server() -> None:
    server = load_settings({}, ["commit_interval=1s", "kafka.client.rack=r", "state_dir=/data", "http_port=9000"])
    settings = Job("a", record(version=1, settings={"commit_interval": "2s"}, workers=3, generation=2)).settings(server)
    assert settings.commit_interval.total_seconds() == 2
    assert (settings.app, settings.workers, settings.http_port) == ("a.2", 3, 0)
    assert settings.kafka == {"client.rack": "r"}
    assert str(settings.state_dir) == "/data"


def test_a_job_that_is_rebuilt_does_not_take_over_before_its_results_are_moved() -> None:
    jobs = Jobs()
    waiting = record(generation=1, version=2, replaces={"sql": SQL})
    jobs.put(Job("j", waiting))
    with pytest.raises(Refused, match="takes over by itself"):
        jobs.next("j", record(generation=1, version=3))
    switching = waiting.model_copy(update={"switched_by": "me", "version": 3})
    jobs.put(Job("j", switching))
    assert jobs.next("j", record(generation=1, version=4)) is not None


def test_a_name_may_not_look_like_that_of_a_generation() -> None:
    with pytest.raises(Refused, match="names of generations"):
        Jobs().next("flights.1", record())
    assert Jobs().next("flights.v1", record()) is not None

"""What of an app's topics is wrong, and how client properties reach the clients."""

from __future__ import annotations

import ssl
from pathlib import Path

from headrace.agents.cluster import TopicState
from headrace.agents.config import WorkerConfig, consumer_options, librdkafka_options
from headrace.agents.producer import FOREVER_MS, Limits
from headrace.agents.topics import problems
from headrace.agents.topology import TopicKind, TopicSpec


def spec(kind: TopicKind, partitions: int | None = 4, **config: str) -> TopicSpec:
    return TopicSpec("t", kind, partitions, None, {name.replace("_", "."): value for name, value in config.items()})


def state(partitions: int = 4, **config: str) -> dict[str, TopicState]:
    return {"t": TopicState("t", "id", partitions, {name.replace("_", "."): value for name, value in config.items()})}


def test_topic_that_is_as_needed_has_no_problem() -> None:
    wanted = spec(TopicKind.CHANGELOG, cleanup_policy="compact")
    assert problems([wanted], state(cleanup_policy="compact")) == []


def test_missing_topic_is_a_problem_only_where_the_app_cannot_create_it() -> None:
    (problem,) = problems([spec(TopicKind.SOURCE, partitions=None)], {})
    assert problem.message == "source topic 't' does not exist"
    assert "partitions" in problem.hint
    assert problems([spec(TopicKind.SOURCE, partitions=4)], {}) == []


def test_other_number_of_partitions_is_fatal_and_named() -> None:
    (problem,) = problems([spec(TopicKind.SINK)], state(partitions=2))
    assert problem.message == "topic 't' has 2 partitions, the app needs 4"
    assert problem.fatal


def test_other_config_is_fatal_for_internal_topics_only() -> None:
    for kind, is_fatal in ((TopicKind.CHANGELOG, True), (TopicKind.SINK, False)):
        (problem,) = problems([spec(kind, cleanup_policy="compact")], state(cleanup_policy="delete"))
        assert problem.fatal is is_fatal
        assert "cleanup.policy = delete" in problem.message


def test_source_may_have_more_partitions_than_declared_but_not_fewer() -> None:
    assert problems([spec(TopicKind.SOURCE)], state(partitions=5)) == []
    (problem,) = problems([spec(TopicKind.SOURCE)], state(partitions=3))
    assert problem.message == "topic 't' has 3 partitions, the app needs 4"


def test_source_takes_any_number_of_partitions_unless_declared() -> None:
    assert problems([spec(TopicKind.SOURCE, partitions=None)], state(partitions=7)) == []


def test_limits_of_a_topic_stamped_by_the_broker_do_not_look_at_timestamps() -> None:
    config = {"message.timestamp.type": "LogAppendTime", "message.timestamp.after.max.ms": "3600000"}
    assert Limits.of(TopicState("t", "id", 1, config)).ahead_ms_max == FOREVER_MS


def config(**kafka: str) -> WorkerConfig:
    return WorkerConfig("b:1", "app", Path("state"), kafka={name.replace("_", "."): v for name, v in kafka.items()})


def test_client_properties_reach_the_consumer_under_its_own_names() -> None:
    options = consumer_options(
        config(
            security_protocol="sasl_ssl",
            sasl_mechanism="SCRAM-SHA-256",
            sasl_username="u",
            sasl_password="p",
            session_timeout_ms="9000",
            linger_ms="7",
        )
    )
    assert isinstance(options.pop("ssl_context"), ssl.SSLContext)
    assert options == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "u",
        "sasl_plain_password": "p",
        "session_timeout_ms": 9000,
    }


def test_consumer_properties_do_not_reach_the_producer() -> None:
    options = librdkafka_options(config(session_timeout_ms="9000", linger_ms="7", sasl_username="u"))
    assert options["linger.ms"] == "7"
    assert options["sasl.username"] == "u"
    assert "session.timeout.ms" not in options

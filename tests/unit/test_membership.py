"""The bytes in which librdkafka takes a place in a consumer group, against those that librdkafka makes itself."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import Consumer

from headrace.agents.membership import Membership


@pytest.mark.parametrize("instance_id", [None, "pod-0"])
def test_metadata_is_what_librdkafka_writes(instance_id: str | None) -> None:
    options = {"bootstrap.servers": "127.0.0.1:1", "group.id": "an-app", "logger": logging.getLogger("quiet")}
    consumer = Consumer(options | ({"group.instance.id": instance_id} if instance_id else {}))
    outside = Membership(-1, "", frozenset())
    assert outside.metadata("an-app", instance_id) == bytes(consumer.consumer_group_metadata())
    consumer.close()


def test_generation_and_member_are_in_it() -> None:
    found = Membership(258, "member-7", frozenset()).metadata("g", None)
    assert found == b"CGMDv2:" + (258).to_bytes(4, "little") + b"g\x00member-7\x00\x01"

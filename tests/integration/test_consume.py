"""What is read of a topic, where transactions wrote it."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer
from tests.integration.sql_app import unique_name

from headrace.app import clients
from headrace.app.consume import newest
from headrace.app.settings_sources import load_settings

pytestmark = pytest.mark.broker


def test_the_newest_records_are_found_behind_the_ends_of_transactions(broker: str) -> None:
    # offsets   0 1 2 3 4 5 6 7 8 9 10 11
    # records   0 | 1 | 2 | 3 | 4 |  x  |        | ends a transaction; the last is aborted
    topic = unique_name("newest")
    settings = load_settings({"bootstrap_servers": broker}, environ={})
    clients.create_topic(settings, topic, 1, {})
    producer = Producer({"bootstrap.servers": broker, "transactional.id": topic})
    producer.init_transactions()
    for number in range(6):
        producer.begin_transaction()
        producer.produce(topic, str(number), timestamp=1_000 + number)
        if number < 5:
            producer.commit_transaction()
        else:
            producer.flush()
            producer.abort_transaction()
    for count in (1, 3, 5, 9):
        found = [int(record.value() or b"") for record in newest(settings, topic, count)]
        assert found == [4, 3, 2, 1, 0][:count]

"""The names of Faust and aiokafka that the transport overrides or reads, which no release promises."""

from __future__ import annotations

import inspect

import aiokafka
import faust
import pytest
from aiokafka.consumer import fetcher, subscription_state
from faust.app.base import BootStrategy
from faust.tables.manager import TableManager
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver


def test_private_names_used_of_aiokafka_exist() -> None:
    assert aiokafka.__version__.startswith("0.14.")
    source = inspect.getsource(fetcher)
    for name in (
        "_records",
        "_subscriptions",
        "_notify",
        "_wait_consume_future",
        "_create_fetch_waiter",
        "_fetch_min_bytes",
        "_fetch_max_wait_ms",
        "_closed",
        "_partition_records",
        "_topic_partition",
        "_isolation_level",
        "_check_crcs",
        "_consume_aborted_up_to",
        "_aborted_producers",
        "_contains_abort_marker",
        "next_fetch_offset",
    ):
        assert f"self.{name}" in source or f"def {name}" in source, name
    assert "self.unassign_future" in inspect.getsource(subscription_state.Assignment)
    assert {"check_assignment", "has_more", "_update_position"} <= set(dir(fetcher.FetchResult))


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (driver.AIOKafkaConsumerThread, "_fetch_records"),
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer"),
        (driver.AIOKafkaConsumerThread, "_ensure_consumer"),
        (driver.AIOKafkaConsumerThread, "_thread_keepalive"),
        (driver.AIOKafkaConsumerThread, "_keepalive2"),
        (driver.Consumer, "_to_message"),
        (driver.Consumer, "_new_consumer_thread"),
        (Consumer, "perform_seek"),
        (Consumer, "wait_empty"),
        (Consumer, "force_commit"),
        (Consumer, "on_buffer_full"),
        (Consumer, "verify_all_partitions_active"),
        (faust.App, "_new_transport"),
        (faust.App, "_producer_flush"),
        (faust.App, "_on_rebalance_when_stopped"),
        (faust.App, "_crash"),
        (faust.App, "_fetcher"),
        (faust.App, "flow_control"),
        (faust.App, "on_rebalance_end"),
        (TableManager, "on_rebalance"),
        (TableManager, "_update_channels"),
        (BootStrategy, "enable_kafka_producer"),
    ],
)
def test_private_names_used_of_faust_exist(owner: type, name: str) -> None:
    assert hasattr(owner, name)

"""What is read from the log of a broker."""

from __future__ import annotations

from tests.torture.cluster import forgotten_partitions

SENDER = (
    "2026-11-27T09:55:55.205 [TxnMarkerSenderThread-1] INFO kafka.coordinator.transaction."
    "TransactionMarkerChannelManager - [Transaction Marker Channel Manager 1]: "
)
REASON = "while trying to send transaction markers for x, these partitions are likely deleted already and hence skipped"


def test_partitions_that_kafka_took_for_deleted_are_found_in_its_log() -> None:
    log = "\n".join(
        [
            "2026-11-27T09:55:50.000 [main] WARN kafka.server.KafkaServer - something else (a-1, b-2)",
            f"{SENDER}Couldn't find leader endpoint for partitions HashSet(t-2, t-9, t-7, t-0, t-1) {REASON}",
            f"{SENDER}Couldn't find leader endpoint for partitions Set(__consumer_offsets-3) {REASON}",
        ]
    )

    assert forgotten_partitions(log) == ["t-2", "t-9", "t-7", "t-0", "t-1", "__consumer_offsets-3"]
    assert forgotten_partitions("") == []

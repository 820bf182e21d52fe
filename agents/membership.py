"""A worker's place in the consumer group, as Kafka checks it when a transaction commits offsets (KIP-447)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack

from headrace.sql.runtime.records import TopicPartition


@dataclass(frozen=True, slots=True)
class Membership:
    """One generation of the group as one member sees it.

    Partitions and generation belong together: offsets that are committed under it are refused as soon as the group has
    gone on, so what was read under one generation can never be committed under another.
    """

    generation: int
    member_id: str
    partitions: frozenset[TopicPartition]
    """All partitions that the member may read."""

    def metadata(self, group: str, instance_id: str | None) -> bytes:
        """The membership as librdkafka's producer takes it.

        The group is joined by another client (aiokafka), so this is written here as librdkafka 2.16 itself does it
        (`rd_kafka_consumer_group_metadata_write`, format v2).
        """
        instance = b"\x01" if instance_id is None else b"\x00" + instance_id.encode() + b"\0"
        return b"".join(
            (
                b"CGMDv2:",
                pack("=i", self.generation),
                group.encode() + b"\0",
                self.member_id.encode() + b"\0",
                instance,
            )
        )

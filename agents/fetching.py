"""What aiokafka has fetched, taken from it as undecoded batches, in place of the part that decodes each record."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Collection
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult
from aiokafka.errors import CorruptRecordException, OffsetOutOfRangeError

from headrace.agents.records import FetchedBatch


def take_records(result: Any) -> FetchedBatch | None:
    """What one fetch result holds for its partition, as one batch; None where the reader has moved elsewhere since.

    The twin of aiokafka's `PartitionRecords._unpack_records` that leaves records undecoded.
    """
    if not result.has_more() or not result.check_assignment(result._topic_partition):
        return None
    fetched = result._partition_records
    partition = fetched._tp
    fetch_offset = fetched.next_fetch_offset
    stored = copy.copy(fetched._records)
    skipped = _pass_over(fetched)
    result._update_position()
    if fetched.next_fetch_offset == fetch_offset:
        return None
    return FetchedBatch(
        partition.topic, partition.partition, fetch_offset, fetched.next_fetch_offset, stored, frozenset(skipped)
    )


def _pass_over(fetched: Any) -> list[int]:
    """Move a fetch's position to its end; base offsets of batches nobody may see (aborted, control)."""
    skipped = []
    stored = fetched._records
    committed_only = fetched._isolation_level == READ_COMMITTED
    while stored.has_next():
        batch = stored.next_batch()
        if fetched._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC in {fetched._tp} at {batch.base_offset}")
        if batch.is_control_batch or (committed_only and _aborted(fetched, batch)):
            skipped.append(batch.base_offset)
        if committed_only and batch.is_control_batch:
            _note_control(fetched, batch)
        fetched.next_fetch_offset = max(fetched.next_fetch_offset, batch.next_offset)
    return skipped


def _aborted(fetched: Any, batch: Any) -> bool:
    if batch.producer_id is None:
        return False
    fetched._consume_aborted_up_to(batch.base_offset)
    return bool(batch.is_transactional and batch.producer_id in fetched._aborted_producers)


def _note_control(fetched: Any, batch: Any) -> None:
    fetched._consume_aborted_up_to(batch.base_offset)
    if fetched._contains_abort_marker(batch):
        fetched._aborted_producers.discard(batch.producer_id)


async def drain(fetcher: Any, partitions: Collection[Any] | None, timeout_s: float) -> dict[Any, FetchedBatch]:
    """Everything fetched so far, one batch per partition; waits for the first of it, at most `timeout_s`.

    Partitions outside `partitions` are left alone (None: all are wanted). A new assignment ends the wait, for other
    partitions are wanted then. Raises what the fetch of one failed with.
    """
    deadline = time.monotonic() + timeout_s
    over = fetcher._subscriptions.subscription.assignment.unassign_future
    while True:
        batches = _fetched(fetcher, partitions)
        left = deadline - time.monotonic()
        if batches or left <= 0:
            return batches
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter, over], timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if waiter not in done:
            waiter.cancel()
            return {}
        waiter.result()
        if fetcher._closed:
            return {}


def _fetched(fetcher: Any, partitions: Collection[Any] | None) -> dict[Any, FetchedBatch]:
    batches: dict[Any, FetchedBatch] = {}
    for partition in list(fetcher._records):
        if not fetcher._subscriptions.is_assigned(partition):
            del fetcher._records[partition]
            continue
        if partitions is not None and partition not in partitions:
            continue
        result = fetcher._records[partition]
        if type(result) is not FetchResult and batches:
            break  # the error waits for the next call: first what there is
        del fetcher._records[partition]
        fetcher._notify(fetcher._wait_consume_future)
        if type(result) is not FetchResult:
            _raise_current(fetcher, partition, result)
        elif (batch := take_records(result)) is not None:
            batches[partition] = batch
    return batches


def _raise_current(fetcher: Any, partition: Any, failed: Any) -> None:
    """Raise a fetch error, unless it speaks of a position that the reader has left since."""
    try:
        failed.check_raise()
    except OffsetOutOfRangeError as error:
        state = fetcher._subscriptions.subscription.assignment.state_value(partition)
        if not state.has_valid_position or state.position != error.args[0].get(partition):
            return
        raise

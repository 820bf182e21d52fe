"""What an admin client of Kafka answers: nothing, at times."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

T = TypeVar("T")

GRACE_S = 5.0


def answered(future: Future[T], time_out_s: float) -> T:
    """What a request brings, with the time-out that it was given. Raises KafkaException.

    When a broker goes away at the wrong moment, librdkafka forgets the request, its time-out included; and so it does
    where nobody holds the client until the answer.
    """
    try:
        return future.result(time_out_s + GRACE_S)
    except TimeoutError:
        reason = f"Kafka did not answer in {time_out_s + GRACE_S:.0f} s"
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, reason)) from None

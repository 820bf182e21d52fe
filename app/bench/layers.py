"""The two layers that a benchmark can measure."""

from __future__ import annotations

from enum import StrEnum


class Layer(StrEnum):
    """What is measured."""

    ENGINE = "engine"
    """The tasks alone, over bytes in memory."""
    KAFKA = "kafka"
    """A worker from topic to topic."""

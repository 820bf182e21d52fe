"""A broker of its own for each test run: it is killed and paused, so nobody else may use it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from tests.torture.cluster import TortureBroker


def pytest_configure() -> None:
    """An end from outside stops broker and workers too, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TortureBroker]:
    broker = TortureBroker(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.stop()

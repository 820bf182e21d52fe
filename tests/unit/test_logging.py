"""The log: what it shows of errors, and what not."""

from __future__ import annotations

import io
import logging

import pytest
import structlog

from headrace.app.logging import REPEATED_S, configure_logging
from headrace.app.settings import LogFormat, LogLevel


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_traceback_shows_no_values(log_format: LogFormat) -> None:
    stream = io.StringIO()
    configure_logging(log_format, LogLevel.DEBUG, stream)
    password = "hunter2"[::-1]
    try:
        raise ZeroDivisionError(len(password))
    except ZeroDivisionError as error:
        structlog.get_logger("test").error("failed", exc_info=error)
    assert "ZeroDivisionError" in stream.getvalue()
    assert password not in stream.getvalue()


REFUSED = "Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after %dms in state CONNECT)"


@pytest.fixture
def told() -> io.StringIO:
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, LogLevel.INFO, stream)
    return stream


def test_library_that_repeats_itself_is_heard_once(told: io.StringIO) -> None:
    for milliseconds in range(100):
        logging.getLogger("librdkafka").error(REFUSED, milliseconds)
    logging.getLogger("librdkafka").error(REFUSED.replace("9092", "9093"), 0)
    assert len(told.getvalue().splitlines()) == 2


def test_library_is_heard_again_after_a_while(told: io.StringIO) -> None:
    library = logging.getLogger("aiokafka")
    for seconds in (0.0, REPEATED_S - 1, REPEATED_S):
        said = {"name": library.name, "levelno": logging.ERROR, "levelname": "ERROR", "msg": "Topic trades not found"}
        library.handle(logging.makeLogRecord({**said, "created": 1_000.0 + seconds}))
    assert len(told.getvalue().splitlines()) == 2


def test_what_headrace_says_is_heard_each_time(told: io.StringIO) -> None:
    for _ in range(3):
        structlog.get_logger("headrace.agents").warning("reader sent back")
    assert len(told.getvalue().splitlines()) == 3


def test_libraries_are_heard_in_full_at_level_debug() -> None:
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, LogLevel.DEBUG, stream)
    for _ in range(3):
        logging.getLogger("librdkafka").info(REFUSED, 1)
    assert len(stream.getvalue().splitlines()) == 3

"""The log: what it shows of errors, and what not."""

from __future__ import annotations

import io

import pytest
import structlog

from headrace.app.logging import configure_logging
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

"""Logging of the outside: structlog to stderr, as text for people or as JSON lines for machines."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Sequence
from math import inf
from typing import TextIO

import structlog
from structlog.typing import Processor

from headrace.app.settings import LogFormat, LogLevel

LIBRARIES = ("aiokafka", "asyncio", "faust", "librdkafka", "mode")
REPEATED_S = 30.0
REMEMBERED = 1_000
NUMBERS = re.compile(r"\d+(?= ?ms\b)")
"""How long something took does not make it another event."""
LEVELS = {level: getattr(logging, level.name) for level in LogLevel}


def configure_logging(
    log_format: LogFormat, log_level: LogLevel, stream: TextIO | None = None, more: Sequence[Processor] = ()
) -> None:
    """Send structlog's events and those of all libraries to one place, in one form. Replaces what was configured.

    `more` adds to each line.
    """
    target = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        *more,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream) if stream else _StderrHandler()
    if log_level is not LogLevel.DEBUG:
        handler.addFilter(_is_told)
        handler.addFilter(_Repeats())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(log_format, target)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(LEVELS[log_level])


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is at the time: a progress bar takes its place while it is shown."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def _is_library(record: logging.LogRecord) -> bool:
    """Faust's services speak as the class they belong to, each line with `[^`."""
    return record.name.split(".")[0] in LIBRARIES or str(record.msg).startswith("[^")


def _is_told(record: logging.LogRecord) -> bool:
    """Libraries tell of trouble only."""
    return not _is_library(record) or record.levelno >= logging.WARNING


class _Repeats(logging.Filter):
    """What a library says again and again is told once in a while: it tells of each attempt to reach a broker."""

    def __init__(self) -> None:
        super().__init__()
        self._told_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not _is_library(record):
            return True
        said = record.name, NUMBERS.sub("", record.getMessage())
        if record.created - self._told_at.get(said, -inf) < REPEATED_S:
            return False
        if len(self._told_at) >= REMEMBERED:
            self._told_at.clear()
        self._told_at[said] = record.created
        return True


def _renderers(log_format: LogFormat, target: TextIO) -> list[Processor]:
    match log_format:
        case LogFormat.JSON:
            return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        case LogFormat.TEXT:
            # A traceback without the values of variables: passwords and tokens are among them.
            traceback = structlog.dev.RichTracebackFormatter(show_locals=False)
            return [structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=traceback)]

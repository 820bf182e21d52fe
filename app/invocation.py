"""One call of the command line: its global options, and the settings that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.app.logging import configure_logging
from headrace.app.settings import Settings
from headrace.app.settings_sources import load_settings

GLOBAL_OPTIONS = ("--bootstrap-servers", "--config", "--set", "--log-format", "--log-level")
"""May stand before or after the command; each takes a value."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """The global options as typed."""

    bootstrap_servers: str | None
    config: Path | None
    assignments: Sequence[str]
    log_format: str | None
    log_level: str | None

    def settings(self, **flags: object) -> Settings:
        """The settings, with the command's own flags (None: not given); logging is configured by them.

        Raises UsageError with all that is wrong.
        """
        given = {
            "bootstrap_servers": self.bootstrap_servers,
            "log_format": self.log_format,
            "log_level": self.log_level,
            **flags,
        }
        settings = load_settings(given, self.assignments, self.config)
        configure_logging(settings.log_format, settings.log_level)
        return settings


def with_global_options_first(arguments: Sequence[str]) -> list[str]:
    """The same arguments with the global options moved before the command, wherever they were typed."""
    hoisted: list[str] = []
    rest: list[str] = []
    remaining = list(arguments)
    while remaining:
        argument = remaining.pop(0)
        if argument == "--":
            rest += [argument, *remaining]
            break
        name, equals, _ = argument.partition("=")
        if name not in GLOBAL_OPTIONS:
            rest.append(argument)
        elif equals or not remaining:
            hoisted.append(argument)
        else:
            hoisted += [argument, remaining.pop(0)]
    return hoisted + rest

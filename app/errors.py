"""Errors of the outside, told apart by whose they are: each knows the exit code of the command that meets it."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What every command ends with."""

    DONE = 0
    INPUT = 1
    USAGE = 2
    OUTSIDE = 3


class HeadraceError(Exception):
    """Told to the user as one line, and a hint where there is one; never as a traceback."""

    exit_code: ClassVar[ExitCode] = ExitCode.OUTSIDE

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.hint = hint


class InputError(HeadraceError):
    """The SQL file or the records given are wrong."""

    exit_code = ExitCode.INPUT


class UsageError(HeadraceError):
    """A flag, a setting or the combination of them is wrong."""

    exit_code = ExitCode.USAGE


class OutsideError(HeadraceError):
    """Kafka, the disk or another part outside of Headrace failed."""

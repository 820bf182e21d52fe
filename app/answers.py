"""What a worker answers whoever started it: lines of JSON on the stdout that it was started with."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import msgspec


class Answer(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One line. The field that is given says which answer it is."""

    status: dict[str, Any] | None = None
    """What was asked for: what the worker is doing."""
    failure: str | None = None
    """Why the worker ends."""
    complete: bool = False
    """The worker ends because a finite run is over: all that the app was to do is done and committed."""


def read_answer(line: bytes) -> Answer | None:
    """What a worker has said; None for what is no answer."""
    try:
        return msgspec.json.decode(line, type=Answer)
    except msgspec.DecodeError:
        return None


class Answers:
    """The worker's side. Takes the stdout of the process for itself: whatever else writes there, such as a `print` in
    a function of a user, writes to stderr from now on.
    """

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr  # which does not keep lines to itself
        self._lock = threading.Lock()

    def say(self, answer: Answer) -> None:
        """Whoever listens is the one that started us: where it is gone, we are told to stop."""
        line = msgspec.json.encode(answer) + b"\n"
        try:
            with self._lock:
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except BrokenPipeError:
            pass

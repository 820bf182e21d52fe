"""Who watches a worker: told what happens, once for each batch and commit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from headrace.agents.records import ParsedBatch


class Observer(Protocol):
    """Is told on the main loop what happens, once for each batch and commit: it must not take long."""

    def processing(self, stage: str, batch: ParsedBatch) -> AbstractContextManager[None]:
        """A task takes a batch within this context; where that ends with an error, it has not taken it."""

    def committing(self) -> AbstractContextManager[None]:
        """What was processed before is committed within this context; it has failed where that ends with an error."""

    def committed(self, seconds: float, oldest_ms: Mapping[str, float]) -> None:
        """A commit took this long; by source topic, how old the first record of its oldest batch was at the end."""

    def failed(self) -> None:
        """What was processed since the last commit will be processed again."""


class Unobserved:
    """Nobody watches."""

    def processing(self, stage: str, batch: ParsedBatch) -> AbstractContextManager[None]:  # noqa: ARG002 (a protocol)
        return nullcontext()

    def committing(self) -> AbstractContextManager[None]:
        return nullcontext()

    def committed(self, seconds: float, oldest_ms: Mapping[str, float]) -> None:
        pass

    def failed(self) -> None:
        pass

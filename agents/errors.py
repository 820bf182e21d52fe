"""Failures as the operator sees them: what happened, and what can be done about it."""

from __future__ import annotations


class KafkaFailure(Exception):  # noqa: N818
    """Kafka (the cluster, a topic, the group) is not as the app needs it; the process ends with exit code 3."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class StateFailure(Exception):  # noqa: N818
    """Local state cannot be written (a full disk); the process ends with exit code 3. The changelog has it all."""


class CommitFailed(Exception):  # noqa: N818
    """What the tasks did is not in Kafka, or nobody knows: they are to be opened anew from what Kafka has."""


class Fenced(CommitFailed):
    """Kafka refused a commit because the group went on without this worker: a rebalance is coming."""


class BatchFailed(CommitFailed):
    """A task broke on a batch of records, so there is nothing to commit."""


class TaskStopped(Exception):  # noqa: N818
    """The task cannot go on: the process must end, committing nothing more of it. The text is for the operator."""

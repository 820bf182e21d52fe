"""What is done to an app in one round of torture: all of it follows from a seed. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from tests.torture.workload import PLANS

from headrace.sql.physical import Mode


class Kind(StrEnum):
    KILL = "kill -9 of a worker"
    KILL_SEVERAL = "kill -9 of several workers at once"
    PAUSE = "SIGSTOP, SIGCONT within the session"
    ZOMBIE = "SIGSTOP, SIGCONT after the session"
    REPLACE = "SIGSTOP, another worker in its place, SIGCONT"
    LEAVE = "SIGTERM"
    EXTRA = "a worker more joins, or leaves again"
    GROW = "the source gets another partition"
    KILL_BROKER = "kill -9 of the broker"
    PAUSE_BROKER = "SIGSTOP of the broker, SIGCONT after the transaction time-out"


DECK = {
    Kind.KILL: 20,
    Kind.KILL_SEVERAL: 8,
    Kind.PAUSE: 3,
    Kind.ZOMBIE: 3,
    Kind.REPLACE: 2,
    Kind.LEAVE: 2,
    Kind.EXTRA: 2,
    Kind.GROW: 1,
    Kind.KILL_BROKER: 2,
    Kind.PAUSE_BROKER: 1,
}
"""A round has just these, in an order that its seed decides."""
SHORT_DECK = {
    Kind.KILL: 5,
    Kind.KILL_SEVERAL: 2,
    Kind.PAUSE: 1,
    Kind.ZOMBIE: 1,
    Kind.REPLACE: 1,
    Kind.LEAVE: 1,
    Kind.EXTRA: 1,
    Kind.GROW: 1,
    Kind.KILL_BROKER: 1,
}


@dataclass(frozen=True, slots=True)
class Blow:
    kind: Kind
    workers: tuple[int, ...]
    """Slots that are hit."""
    lasts_s: float
    """Until what was stopped goes on, or what was killed is started again."""
    state_lost: bool
    """The state directories of the workers are deleted before they are started again."""
    peace_s: float | None
    """Time until the next blow; None: until every source partition has been committed further."""


@dataclass(frozen=True, slots=True)
class Round:
    """An app, how it is run, and what happens to it."""

    seed: int
    mode: Mode
    plan: str
    workers: int
    pages: int
    """Different keys."""
    per_s: int
    """Hits in a second."""
    commit_ms: int
    session_ms: int
    transaction_ms: int
    """Time-out of a transaction. The shortest is over before a paused worker goes on."""
    static_members: bool
    """Workers keep their places in the group while they are away."""
    blows: tuple[Blow, ...]

    @property
    def grows(self) -> bool:
        """Whether the source can get another partition."""
        return self.mode is Mode.SINGLE or PLANS[self.plan].may_grow

    @property
    def extra_slot(self) -> int:
        """Of the worker that comes and goes."""
        return self.workers

    def __str__(self) -> str:
        members = "static" if self.static_members else "dynamic"
        return (
            f"seed {self.seed}: {self.plan}, {self.mode}, {self.workers} {members} workers, {self.pages} keys, "
            f"{self.per_s} rows/s, commits each {self.commit_ms} ms, session {self.session_ms} ms, "
            f"transaction {self.transaction_ms} ms"
        )


def draw_round(seed: int, deck: dict[Kind, int]) -> Round:
    """The round of a seed. Even seeds run in mode single, odd ones partitioned."""
    draw = random.Random(seed)
    workers = draw.choice((2, 3))
    session_ms = draw.choice((2_000, 3_000))
    transaction_ms = draw.choice((1_500, 5_000, 15_000))
    kinds = [kind for kind, count in deck.items() for _ in range(count)]
    draw.shuffle(kinds)
    return Round(
        seed,
        Mode.PARTITIONED if seed % 2 else Mode.SINGLE,
        draw.choice(sorted(PLANS)),
        workers,
        pages=draw.choice((20, 200, 2_000)),
        per_s=draw.choice((1_000, 3_000)),
        commit_ms=draw.choice((50, 200, 500)),
        session_ms=session_ms,
        transaction_ms=transaction_ms,
        static_members=draw.random() < 0.25,
        blows=tuple(_draw_blow(draw, kind, workers, session_ms / 1000, transaction_ms / 1000) for kind in kinds),
    )


def _draw_blow(draw: random.Random, kind: Kind, workers: int, session_s: float, transaction_s: float) -> Blow:
    slots = tuple(draw.sample(range(workers), workers))
    match kind:
        case Kind.KILL_SEVERAL:
            hit, lasts_s = slots[: draw.randint(2, workers)], draw.uniform(0, 1)
        case Kind.PAUSE:
            hit, lasts_s = slots[: draw.randint(1, workers)], draw.uniform(0.1, 0.9 * session_s)
        case Kind.ZOMBIE:
            hit, lasts_s = slots[: draw.choice((1, 1, workers))], session_s + draw.uniform(0.5, 4)
        case Kind.REPLACE:
            hit, lasts_s = slots[:1], draw.uniform(0.5, session_s + 2)
        case Kind.KILL_BROKER:
            hit, lasts_s = slots[: draw.choice((0, 1))], draw.uniform(0, 2)
        case Kind.PAUSE_BROKER:
            hit, lasts_s = slots[: draw.choice((0, 1))], min(transaction_s, 6) + draw.uniform(0.5, 2)
        case _:
            hit, lasts_s = slots[:1], draw.uniform(0, 1)
    peace_s = None if draw.random() < 0.4 else draw.uniform(0, 1.5)
    return Blow(kind, hit, lasts_s, draw.random() < 0.15, peace_s)

"""The short form of the torture: one round in each mode. `make torture` is the long one.

`HEADRACE_TEST_TORTURE_SEED` plays the round of one seed again (a failure names it),
`HEADRACE_TEST_TORTURE_GUARANTEE=at_least_once` checks for losses only.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest
from tests.torture.cluster import TortureBroker
from tests.torture.schedule import SHORT_DECK, draw_round
from tests.torture.torment import Outcome, play

GIVEN = os.environ.get("HEADRACE_TEST_TORTURE_SEED")
FIRST = random.SystemRandom().randrange(10**6) * 2
SEEDS = [int(GIVEN)] if GIVEN else [FIRST, FIRST + 1]
"""An even seed runs in mode single, an odd one partitioned."""
ATTEMPTS = 3


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_killed_nothing_is_lost_or_repeated(broker: TortureBroker, seed: int, tmp_path: Path) -> None:
    outcome = _played(seed, broker, tmp_path)
    assert outcome.passed, outcome
    assert outcome.kills > 0
    assert outcome.findings.rows > 0


def _played(seed: int, broker: TortureBroker, directory: Path) -> Outcome:
    """The outcome of a round; one that Kafka spoiled is played again."""
    for attempt in range(ATTEMPTS):
        home = directory / f"round-{attempt}"
        outcome = play(draw_round(seed, SHORT_DECK), broker, home)
        if not outcome.passed:  # the files may be gone by the time that somebody asks
            sys.stdout.write(f"{outcome}\n{(home / 'story').read_text()}")
        if not outcome.spoiled:
            break
    return outcome

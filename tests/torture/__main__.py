"""The long form of the torture, `make torture`: rounds until enough workers were killed, and a report.

Environment: `HEADRACE_TEST_TORTURE_KILLS` (1000) and `HEADRACE_TEST_TORTURE_MINUTES` (120) end it;
`HEADRACE_TEST_TORTURE_SEED` plays the one round of that seed again; `HEADRACE_TEST_TORTURE_GUARANTEE=at_least_once`
checks for losses only. Files of failed rounds, and the report, are kept in `build/torture/<time>`.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from tests.torture import report
from tests.torture.cluster import TortureBroker
from tests.torture.schedule import DECK, draw_round
from tests.torture.torment import GUARANTEE, Outcome, play

from headrace.agents.config import Guarantee

KILLS = int(os.environ.get("HEADRACE_TEST_TORTURE_KILLS", "1000"))
MINUTES = float(os.environ.get("HEADRACE_TEST_TORTURE_MINUTES", "120"))
SEED = os.environ.get("HEADRACE_TEST_TORTURE_SEED")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def play_rounds(seeds: Iterable[int], directory: Path) -> list[Outcome]:
    """Play rounds until the seeds, the kills or the minutes are used up, each on a new broker.

    What kills leave behind in one makes its next start slow, and slower each time.
    """
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for seed in seeds:
        home = directory / f"broker-{seed}"
        broker = TortureBroker(home)
        try:
            outcomes.append(play(draw_round(seed, DECK), broker, directory / f"round-{seed}"))
        finally:
            broker.stop()
        shutil.rmtree(home)
        kills = sum(outcome.kills for outcome in outcomes if not outcome.spoiled)
        minutes = (time.monotonic() - began) / 60
        say(f"{outcomes[-1]}\n  so far {len(outcomes)} rounds, {kills} of {KILLS} kills, {minutes:.0f} minutes")
        if kills >= KILLS or minutes >= MINUTES:
            break
    return outcomes


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = report.ROOT / "build" / "torture" / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    directory.mkdir(parents=True)
    began = time.monotonic()
    seeds = [int(SEED)] if SEED else count(random.SystemRandom().randrange(10**6))
    outcomes = play_rounds(seeds, directory)
    result = report.report_of(outcomes, time.monotonic() - began)
    report.write(result, directory / "report.json")
    say(f"\n{report.table(result)}\nreport: {directory / 'report.json'}")
    for seed in result.failed_seeds:
        say(f"FAILED: HEADRACE_TEST_TORTURE_SEED={seed} make torture plays it again; {directory / f'round-{seed}'}")
    if result.failed_seeds:
        return 1
    if result.kills >= KILLS and not SEED and GUARANTEE is Guarantee.EXACTLY_ONCE:
        report.write_docs(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())

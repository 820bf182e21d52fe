"""What a seed decides."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.torture.schedule import DECK, SHORT_DECK, Kind, draw_round
from tests.torture.workload import PLANS

from headrace.sql.physical import Mode

ROUNDS = [draw_round(seed, DECK) for seed in range(200)]


def test_seed_gives_the_same_round_each_time() -> None:
    assert draw_round(7, DECK) == ROUNDS[7]
    assert draw_round(8, DECK) != ROUNDS[7]


def test_two_seeds_in_a_row_cover_both_modes() -> None:
    assert {draw_round(seed, SHORT_DECK).mode for seed in (40, 41)} == {Mode.SINGLE, Mode.PARTITIONED}


@pytest.mark.parametrize("deck", [DECK, SHORT_DECK])
def test_round_has_each_blow_as_often_as_its_deck(deck: dict[Kind, int]) -> None:
    assert Counter(blow.kind for blow in draw_round(1, deck).blows) == Counter(deck)


def test_rounds_cover_all_plans_and_ways_to_run_them() -> None:
    assert {each.plan for each in ROUNDS} == PLANS.keys()
    assert {each.workers for each in ROUNDS} == {2, 3}
    assert {each.static_members for each in ROUNDS} == {True, False}


def test_blows_hit_workers_of_the_round_and_zombies_outlive_their_session() -> None:
    for each in ROUNDS:
        for blow in each.blows:
            assert set(blow.workers) <= set(range(each.workers))
            if blow.kind is Kind.ZOMBIE:
                assert blow.lasts_s * 1000 > each.session_ms
            if blow.kind is Kind.PAUSE:
                assert blow.lasts_s * 1000 < each.session_ms
            if blow.kind is Kind.KILL_SEVERAL:
                assert len(blow.workers) > 1

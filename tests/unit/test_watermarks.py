"""The rule by which a task's watermark follows from those of its senders and peers."""

from __future__ import annotations

import pytest

from headrace.sql.runtime.watermarks import END, START, Watermarks, earlier, newest_before

Said = tuple[int, bool] | None
"""Watermark and idleness; None where nobody has said anything yet."""

READ, IDLE = False, True


@pytest.mark.parametrize(
    ("own", "peers", "expected"),
    [
        # While its own partition is not idle, a task goes by that alone.
        ((500, READ), [(9_000, READ), (9_000, IDLE)], 500),
        ((500, READ), [(END, READ), (END, READ)], 500),
        # While it is, by the slowest of those that are not.
        ((500, IDLE), [(700, READ), (9_000, READ)], 700),
        ((500, IDLE), [(700, IDLE), (9_000, READ)], 9_000),
        ((START, IDLE), [(700, READ), (9_000, IDLE)], 700),
        # Where all are, by the one that has come furthest.
        ((500, IDLE), [(700, IDLE), (9_000, IDLE)], 9_000),
        ((9_000, IDLE), [(700, IDLE), (START, IDLE)], 9_000),
        # It holds where a reader has said nothing yet, and never goes back.
        ((500, IDLE), [(9_000, READ), None], 500),
        ((500, IDLE), [(9_000, IDLE), None], 500),
        ((500, IDLE), [(300, READ), (9_000, READ)], 500),
        # A partition that has ended holds nobody back.
        ((500, IDLE), [(END, READ), (700, READ)], 700),
        ((500, IDLE), [(END, READ), (END, READ)], END),
    ],
)
def test_peers_count_while_the_own_partition_is_idle(own: tuple[int, bool], peers: list[Said], expected: int) -> None:
    watermarks = Watermarks((0,), (1, 2))
    watermarks.update(0, own[0], idle=False)
    watermarks.current()
    for number, said in enumerate(peers, 1):
        if said is not None:
            watermarks.update(number, said[0], idle=said[1])
    watermarks.update(0, own[0], idle=own[1])
    assert watermarks.current() == expected


def test_partition_that_wakes_up_goes_by_itself_again_from_where_the_others_have_brought_it() -> None:
    watermarks = Watermarks((0,), (1,))
    watermarks.update(0, 500, idle=True)
    watermarks.update(1, 700, idle=False)
    assert watermarks.current() == 700
    watermarks.update(0, 600, idle=False)
    watermarks.update(1, 9_000, idle=False)
    assert watermarks.current() == 700
    watermarks.update(0, 800, idle=False)
    assert watermarks.current() == 800


def test_peers_are_no_part_of_the_snapshot_and_how_far_they_have_brought_the_task_is() -> None:
    watermarks = Watermarks((0,), (1,))
    watermarks.update(0, 500, idle=True)
    watermarks.update(1, 700, idle=False)
    current = watermarks.current()
    assert watermarks.snapshot() == [(0, 500, True)]
    again = Watermarks((0,), (1,))
    again.restore(watermarks.snapshot(), current)
    assert again.current() == 700
    assert not again.ended


def test_sender_that_comes_later_holds_nobody_back_before_it_speaks() -> None:
    watermarks = Watermarks((0, 1))
    watermarks.update(0, 700, idle=False)
    watermarks.update(1, 900, idle=False)
    again = Watermarks((0, 1, 2))
    again.restore(watermarks.snapshot(), watermarks.current())
    for table in (watermarks, again):
        assert table.current() == 700
        table.update(2, 800, idle=False)
        table.update(0, 5_000, idle=False)
        table.update(1, 5_000, idle=False)
        assert table.current() == 800


def test_sender_that_comes_later_holds_a_finite_run_until_its_end() -> None:
    watermarks = Watermarks((0, 1), endless=False)
    watermarks.restore([(0, 700, False)], 700)
    watermarks.update(0, END, idle=False)
    assert watermarks.current() == 700
    assert not watermarks.ended
    watermarks.update(1, END, idle=False)
    assert watermarks.current() == END
    assert watermarks.ended


def test_nothing_is_idle_in_a_finite_run() -> None:
    watermarks = Watermarks((0, 1), endless=False)
    watermarks.restore([(0, 700, False), (1, 500, True)], 600)
    assert watermarks.current() == 600
    watermarks.update(0, 9_000, idle=False)
    watermarks.update(1, 800, idle=True)
    assert watermarks.current() == 800


@pytest.mark.parametrize(
    ("newest", "times", "before"),
    [
        (START, [], []),
        (START, [1, 2, 2, 5], [START, 1, 2, 2]),
        (1, [1, 2, 5], [1, 1, 2]),
        (3, [1, 2, 5, 6], [3, 3, 3, 5]),
        (START, [5, 1, 7, 6, 8], [START, 5, 5, 7, 7]),
        (-7, [-9, -5, -8], [-7, -7, -5]),
    ],
)
def test_each_row_goes_by_the_newest_time_before_it(newest: int, times: list[int], before: list[int]) -> None:
    assert list(newest_before(times, sorted(times), newest)) == before


def test_a_delay_moves_a_watermark_back_unless_it_is_infinite() -> None:
    assert [earlier(watermark, 10) for watermark in (START, -5, 0, 25, END)] == [START, -15, -10, 15, END]
    assert (START, END) == (-(2**63), 2**63 - 1)

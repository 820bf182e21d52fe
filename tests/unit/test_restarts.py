"""When a worker that died is started again. Time is a number here."""

from __future__ import annotations

from headrace.app.restarts import CrashHistory, RestartPolicy

POLICY = RestartPolicy(first_delay_seconds=0.5, longest_delay_seconds=3.0, crash_limit=5, crash_window_seconds=60.0)


def test_delays_double_up_to_the_longest() -> None:
    history = CrashHistory(RestartPolicy(longest_delay_seconds=3.0, crash_limit=100))
    assert [history.crashed(now - 1, now) for now in (10, 20, 30, 40, 50)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_crash_limit_within_the_window_is_a_crash_loop() -> None:
    history = CrashHistory(POLICY)
    assert [history.crashed(now - 1, now) is None for now in (1, 2, 3, 4, 5)] == [False] * 4 + [True]


def test_crashes_spread_over_more_than_the_window_are_no_crash_loop() -> None:
    history = CrashHistory(POLICY)
    assert all(history.crashed(now - 1, now) is not None for now in range(0, 200, 16))


def test_delay_begins_anew_after_a_long_healthy_run() -> None:
    history = CrashHistory(POLICY)
    history.crashed(0, 1)
    assert history.crashed(2, 3) == 1.0
    assert history.crashed(4, 64) == 0.5

"""The rule by which a task's watermark follows from those of its senders."""

from __future__ import annotations

from headrace.sql.runtime.watermarks import Watermarks


def test_nothing_is_idle_in_a_finite_run() -> None:
    watermarks = Watermarks((0, 1), endless=False)
    watermarks.restore([(0, 700, False), (1, 500, True)], 600)
    assert watermarks.current() == 600
    watermarks.update(0, 9_000, idle=False)
    watermarks.update(1, 800, idle=True)
    assert watermarks.current() == 800

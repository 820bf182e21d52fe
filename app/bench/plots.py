"""The plots of a report, as SVG that is the same for the same measurements and can be read on light and on dark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.app.bench.budget import STEPS
from headrace.app.bench.measured import PARTITIONS, Measured
from headrace.app.bench.tables import CORES, EFFICIENCY_MIN
from headrace.app.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "#808080"
"""Text and axes: between black and white."""
COLORS = (
    *(f"tab:{name}" for name in ("blue", "orange", "green", "red", "purple", "brown", "pink", "olive", "cyan")),
    "#ffbb78",
)
"""For what is measured: none is grey."""
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "headrace",
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": GREY,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "legend.labelcolor": GREY,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": GREY,
    "grid.alpha": 0.25,
}


def draw(measured: Measured, directory: Path) -> None:
    """All plots, into the directory. UsageError where matplotlib is not installed."""
    try:
        import matplotlib as mpl
        from cycler import cycler
    except ImportError:
        raise UsageError("plots need matplotlib", "pip install 'headrace[bench]'") from None
    mpl.use("svg")
    directory.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({**STYLE, "axes.prop_cycle": cycler(color=COLORS)}):
        with _plot(directory / "throughput.svg") as axes:
            _throughput(measured, axes)
        with _plot(directory / "efficiency.svg") as axes:
            _efficiency(measured, axes)
        with _plot(directory / "projection.svg") as axes:
            _projection(measured, axes)
        if measured.budget:
            with _plot(directory / "budget.svg") as axes:
                _budget(measured, axes)
        if measured.latency:
            with _plot(directory / "latency.svg") as axes:
                _latency(measured, axes)


@contextmanager
def _plot(path: Path) -> Iterator[Axes]:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.6), layout="constrained")
    axes.set_axisbelow(True)
    yield axes
    figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def _throughput(measured: Measured, axes: Axes) -> None:
    """Engine layer, 8 partitions: mode single, and mode partitioned with one and two workers."""
    cases = {"single": ("single", 1), "partitioned": ("partitioned", 1), "partitioned, 2 workers": ("partitioned", 2)}
    scenarios = [s for s in measured.scenarios("engine") if measured.medians("engine", s, "single", PARTITIONS, 1)]
    for number, (label, (mode, workers)) in enumerate(cases.items()):
        found = [measured.medians("engine", name, mode, PARTITIONS, workers) for name in scenarios]
        places = [place + (number - 1) * 0.27 for place in range(len(scenarios))]
        axes.bar(places, [each.per_s / 1000 if each else 0 for each in found], 0.25, label=label)
    axes.set_xticks(range(len(scenarios)), scenarios)
    axes.set_ylabel("thousand records/s")
    axes.legend()


def _efficiency(measured: Measured, axes: Axes) -> None:
    for scenario in measured.scaled("engine"):
        loops = measured.loops_by_partitions("engine", scenario)
        axes.plot(list(loops), [loops[1] / cost for cost in loops.values()], marker="o", markersize=3, label=scenario)
    axes.axhline(EFFICIENCY_MIN, color=GREY, linestyle=":", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    axes.set_ylim(0, max(1.3, axes.get_ylim()[1]))
    axes.set_xlabel("partitions")
    axes.set_ylabel("records per CPU second over those of 1")
    axes.legend(ncols=4)


def _projection(measured: Measured, axes: Axes) -> None:
    numbers = range(1, max(CORES) + 1)
    for scenario in measured.scaled("engine"):
        law = measured.law("engine", scenario)
        axes.plot(numbers, [law.speed_up(cores) for cores in numbers], label=scenario, linewidth=1)
        if speed_up := measured.speed_up(scenario):
            axes.plot([2], [speed_up], marker="x", color=axes.lines[-1].get_color())
    axes.plot(numbers, numbers, color=GREY, linestyle=":", linewidth=1)
    axes.set_xlabel("cores: projected; crosses: measured with two workers")
    axes.set_ylabel("throughput over that of 1")
    axes.legend(ncols=2)


def _budget(measured: Measured, axes: Axes) -> None:
    newest = {each.scenario: each for each in measured.budget}
    left = [0.0] * len(newest)
    for step, color in zip(STEPS, [*COLORS, GREY], strict=True):
        loops = [next(s.us for s in each.steps if s.step == step) / each.plain_us for each in newest.values()]
        axes.barh(list(newest), loops, left=left, label=step, color=color)
        left = [begin + width for begin, width in zip(left, loops, strict=True)]
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.set_xlabel("CPU time in plain loops")
    axes.legend(ncols=2)


def _latency(measured: Measured, axes: Axes) -> None:
    quantiles = ("p50", "p95", "p99", "p99.9")
    newest = {each.case: each for each in measured.latency}
    for case, each in newest.items():
        axes.plot(
            quantiles, [each.p50_ms, each.p95_ms, each.p99_ms, each.p999_ms], marker="o", markersize=3, label=case
        )
    axes.set_yscale("log")
    axes.set_ylabel("ms")
    axes.legend()

"""How suites share one run (`tests/run`), and what each of them did."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def suite_of(path: Path) -> str:
    return path.relative_to(HERE).parts[0]


def named_suites(args: list[str]) -> list[str]:
    """Those of the arguments of pytest that are in a suite."""
    paths = (Path(arg.partition("::")[0]).resolve() for arg in args)
    return [suite_of(path) for path in paths if path != HERE and path.is_relative_to(HERE)]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mix the suites evenly: those that wait for a broker leave time for those that compute."""
    suites: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        suites[suite_of(item.path)].append(item)
    places = {item: place / len(suite) for suite in suites.values() for place, item in enumerate(suite)}
    items.sort(key=places.__getitem__)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """A line for each suite; one without a test says so."""
    if config.option.collectonly:
        return
    counts: dict[str, Counter[str]] = {suite: Counter() for suite in named_suites(config.args)}
    seconds: Counter[str] = Counter()
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                (suite,) = named_suites([str(config.rootpath / report.nodeid)])
                seconds[suite] += report.duration
                if outcome in OUTCOMES:
                    counts.setdefault(suite, Counter())[outcome] += 1
    for suite, found in counts.items():
        told = ", ".join(f"{count} {outcome}" for outcome, count in found.items()) or "NO TESTS"
        terminalreporter.write_line(f"{suite}: {told} ({seconds[suite]:.0f} s in all)")

"""What a long run of torture found: a JSON file, and a table in docs/reliability.md.

`python -m tests.torture.report FILE` writes the table of a report file into the docs.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from tests.torture.schedule import Kind
from tests.torture.torment import GUARANTEE, Outcome

from headrace.app import broker as brokers

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
SECTION = re.compile(r"(?P<begin><!-- torture report -->\n).*?(?P<end><!-- end of torture report -->)", re.DOTALL)


class Played(msgspec.Struct, frozen=True):
    """One round."""

    seed: int
    setup: str
    passed: bool
    kills: int
    seconds: int


class Report(msgspec.Struct, frozen=True):
    """A long run."""

    date: str
    headrace: str
    """Commit; with `-dirty` where files were changed."""
    kafka: str
    python: str
    machine: str
    guarantee: str
    minutes: int
    kills: int
    blows: dict[str, int]
    counts: dict[str, int]
    records: int
    rows: int
    lost: int
    repeated: int
    wrong: int
    failed_seeds: list[int]
    spoiled_seeds: list[int]
    """Of rounds that Kafka itself spoiled (KAFKA-20734); the numbers above do not count them."""
    rounds: list[Played]


def report_of(outcomes: Iterable[Outcome], seconds: float) -> Report:
    """The sums of all rounds. `seconds` is what they took together."""
    played = list(outcomes)
    outcomes = [outcome for outcome in played if not outcome.spoiled]
    blows = sum((outcome.blows for outcome in outcomes), Counter[str]())
    counts = sum((outcome.counts for outcome in outcomes), Counter[str]())
    return Report(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        headrace=_commit(),
        kafka=brokers.kafka_version(),
        python=platform.python_version(),
        machine=f"{os.cpu_count()} cores for broker, producer and workers",
        guarantee=GUARANTEE.value,
        minutes=round(seconds / 60),
        kills=sum(outcome.kills for outcome in outcomes),
        blows={kind.value: blows[kind] for kind in Kind},
        counts=dict(sorted(counts.items())),
        records=sum(outcome.records for outcome in outcomes),
        rows=sum(outcome.findings.rows for outcome in outcomes),
        lost=sum(outcome.findings.lost for outcome in outcomes),
        repeated=sum(outcome.findings.repeated for outcome in outcomes),
        wrong=sum(outcome.findings.wrong for outcome in outcomes),
        failed_seeds=[outcome.round.seed for outcome in outcomes if not outcome.passed],
        spoiled_seeds=[outcome.round.seed for outcome in played if outcome.spoiled],
        rounds=[Played(o.round.seed, str(o.round), o.passed, o.kills, round(o.seconds)) for o in outcomes],
    )


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def write(report: Report, file: Path) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def read(file: Path) -> Report:
    return msgspec.json.decode(file.read_bytes(), type=Report)


def table(report: Report) -> str:
    """The report as Markdown."""
    failed = ", ".join(map(str, report.failed_seeds)) or "none"
    spoiled = ", ".join(map(str, report.spoiled_seeds)) or "none"
    rows: list[tuple[str, Any]] = [
        ("date", report.date),
        ("Headrace", f"`{report.headrace}`, {report.guarantee}"),
        ("Kafka, Python", f"{report.kafka}, {report.python}"),
        ("machine", report.machine),
        ("time", f"{report.minutes} minutes"),
        ("rounds", f"{len(report.rounds)}, failed: {failed}"),
        ("rounds spoiled by Kafka (KAFKA-20734)", spoiled),
        ("workers killed", report.kills),
        *report.blows.items(),
        *report.counts.items(),
        ("records produced", report.records),
        ("records of sinks checked", report.rows),
        ("**lost**", f"**{report.lost}**"),
        ("**repeated**", f"**{report.repeated}**"),
        ("**wrong**", f"**{report.wrong}**"),
    ]
    lines = [f"| {name} | {f'{value:,}' if isinstance(value, int) else value} |" for name, value in rows]
    return "\n".join(["| what | |", "| --- | --- |", *lines, ""])


def write_docs(report: Report) -> None:
    """Put the table of a report into its place in the docs."""
    text = PAGE.read_text(encoding="utf-8")
    assert SECTION.search(text), f"{PAGE} has no place for the report"
    PAGE.write_text(SECTION.sub(rf"\g<begin>\n{table(report)}\g<end>", text), encoding="utf-8")


if __name__ == "__main__":
    write_docs(read(Path(sys.argv[1])))

"""The report: files of measurements as the tables of docs/baselines.md, each between its markers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from headrace.app.bench.measured import Measured
from headrace.app.bench.measurements import Measurement, Run, Throughput
from headrace.app.bench.tables import SECTIONS
from headrace.app.errors import InputError

SECTION = re.compile(r"(?P<begin><!-- measured: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)
PAGE = "baselines.md"


def read(files: Iterable[Path]) -> Measured:
    """InputError for what is no file of measurements, and for measurements that do not belong in one report."""
    decode = msgspec.json.Decoder(Run | Measurement).decode
    measured = Measured()
    for file in files:
        try:
            lines = file.read_bytes().splitlines()
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}") from None
        for number, line in enumerate(lines, 1):
            try:
                made = decode(line)
            except msgspec.DecodeError as error:
                raise InputError(f"{file}, line {number} is no measurement: {error}") from None
            if number == 1 and not isinstance(made, Run):
                raise InputError(f"{file} does not begin with the line that says how it was measured (kind `run`)")
            measured.add(made)
    if not measured.runs or not measured.throughput:
        raise InputError("nothing to report: no throughput was measured", "`headrace bench run --output FILE` does")
    _check_same_results(measured.throughput)
    _check_one_guarantee(measured.throughput)
    return measured


def _check_same_results(runs: Iterable[Throughput]) -> None:
    first: dict[tuple[str, int], Throughput] = {}
    for run in runs:
        if run.mode == "faust":
            continue  # writes JSON in its own way
        other = first.setdefault((run.scenario, run.records), run)
        if other.result != run.result:
            raise InputError(
                f"results of {run.scenario} differ: mode {other.mode} with {other.partitions} partitions, "
                f"mode {run.mode} with {run.partitions}"
            )


def _check_one_guarantee(runs: Iterable[Throughput]) -> None:
    found = dict.fromkeys(run.promise for run in runs if run.promise is not None)
    if len(found) > 1:
        raise InputError(
            f"layer kafka was measured with {' and with '.join(found)}: they have no common median",
            "report the files of one guarantee and commit interval at a time",
        )


def write(measured: Measured, directory: Path) -> None:
    """Make the sections of the page anew. InputError where there is no page, or it has a section of another name."""
    page = directory / PAGE
    try:
        text = page.read_text()
    except OSError as error:
        raise InputError(
            f"{page} cannot be read: {error.strerror}", "the tables go between the markers of it"
        ) from None

    def section(match: re.Match[str]) -> str:
        make = SECTIONS.get(match["name"])
        if make is None:
            raise InputError(f"{page} has a section `{match['name']}`; known: {', '.join(SECTIONS)}")
        return match["begin"] + "\n".join([*make(measured), ""]) + match["end"]

    page.write_text(SECTION.sub(section, text))

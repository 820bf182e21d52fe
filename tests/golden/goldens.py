"""What all golden suites share: where the files are, in which layouts an app is run, how a golden is compared."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parent

CheckGolden = Callable[[Path, str], None]
"""Compares a text with the golden file, or rewrites the file under --update-goldens."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to run an app: its result must not depend on it."""

    mode: str
    parallelism: int

    def __str__(self) -> str:
        return f"{self.mode}-{self.parallelism}"

    @property
    def one_order(self) -> bool:
        """All changes come out in one order; otherwise only those of one key do, as on Kafka's partitions."""
        return self.parallelism == 1


LAYOUTS = (Layout("single", 1), Layout("partitioned", 1), Layout("partitioned", 4))


def check_golden(path: Path, actual: str, *, update: bool) -> None:
    """AssertionError where the file holds another text; with `update` the file is written instead."""
    if update:
        path.write_text(actual, encoding="utf-8")
        return
    assert path.exists(), f"{path.relative_to(ROOT)} is missing: write it with `pytest tests/golden --update-goldens`"
    expected = path.read_text(encoding="utf-8")
    assert actual == expected, f"{path.relative_to(ROOT)} differs"


def read_json_lines(path: Path) -> list[Any]:
    """Every line of a file of JSON, also gzip."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [msgspec.json.decode(line) for line in data.splitlines() if line.strip()]


def files(folder: str, pattern: str) -> list[Path]:
    """The golden files of a folder, in order."""
    found = sorted((ROOT / folder).glob(pattern), key=os.fspath)
    assert found, f"no {pattern} in {folder}"
    return found

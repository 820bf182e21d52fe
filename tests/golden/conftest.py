"""Golden tests: the option that rewrites the goldens, and the fixture that compares with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.golden.goldens import CheckGolden, check_golden


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="rewrite the golden files of tests/golden")


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> CheckGolden:
    update = bool(request.config.getoption("--update-goldens", default=False))

    def check(path: Path, actual: str) -> None:
        check_golden(path, actual, update=update)

    return check

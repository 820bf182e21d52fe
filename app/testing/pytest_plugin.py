"""The pytest plugin: `*.headrace.yaml` and `*.headrace.sql` are collected as test files.

It is loaded by every pytest that runs beside Headrace: nothing else is imported before a file of these names is found.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from headrace.app.testing.cases import Case

SUFFIXES = (".headrace.yaml", ".headrace.yml", ".headrace.sql")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A test file by its name."""
    if file_path.name.endswith(SUFFIXES):
        return HeadraceFile.from_parent(parent, path=file_path)
    return None


class HeadraceFile(pytest.File):
    """A test file; its tests are items."""

    def collect(self) -> Iterable[pytest.Item]:
        from headrace.app.errors import HeadraceError
        from headrace.app.testing.cases import load_cases

        try:
            cases = load_cases(self.path, {})
        except HeadraceError as error:
            text = f"{error}\nhint: {error.hint}" if error.hint else str(error)
            raise self.CollectError(text) from None
        for case in cases:
            yield HeadraceItem.from_parent(self, name=case.name, case=case)


class HeadraceItem(pytest.Item):
    """One test."""

    def __init__(self, *, case: Case, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.case = case

    def runtest(self) -> None:
        self.case.check()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What differs, as `headrace test` says it; a traceback only for mistakes of ours."""
        from headrace.app.testing.cases import UnmetError

        if isinstance(excinfo.value, UnmetError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.case.line - 1, self.case.name

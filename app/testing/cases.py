"""Cases of a test file: what each is called, where it stands, and how it is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from headrace.app.errors import UsageError
from headrace.sql.physical import Mode


class UnmetError(Exception):
    """What a case expects did not come; the text says what came instead."""


class RefusedError(UnmetError):
    """The case's SQL or its records were refused before there was anything to compare."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test of an app."""

    file: str
    line: int
    name: str
    check: Callable[[], None]
    """Runs the case; UnmetError where it fails."""


def check_in_modes(modes: Iterable[Mode], check: Callable[[Mode], None]) -> None:
    """Check in each mode. UnmetError where it fails in one; it names the modes where they differ."""
    failures: dict[Mode, str] = {}
    checked = list(modes)
    for mode in checked:
        try:
            check(mode)
        except RefusedError:
            raise
        except UnmetError as error:
            failures[mode] = str(error)
    if not failures:
        return
    if len(failures) == len(checked) and len(set(failures.values())) == 1:
        raise UnmetError(failures[checked[0]])
    raise UnmetError("\n".join(f"mode {mode}: {failures.get(mode, 'ok')}" for mode in checked))


def load_cases(path: Path, defaults: Mapping[str, str], udfs: tuple[ModuleType, ...] = ()) -> list[Case]:
    """The cases of a test file, in its order; `defaults` are settings that the file overrides, `udfs` modules with
    functions for its app.

    Raises UsageError for another kind of file, InputError for what is wrong in it.
    """
    match path.suffix:
        case ".sql":
            from headrace.app.testing.sql_cases import load_sql

            return load_sql(path, defaults, udfs)
        case ".yaml" | ".yml":
            from headrace.app.testing.yaml_cases import load_yaml

            return load_yaml(path, defaults, udfs)
    raise UsageError(f"{path}: unknown kind of test file", "known: .yaml, .yml, .sql")

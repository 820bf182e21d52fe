"""The built wheel: everything under `headrace`, nothing beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from a copy: a build leaves folders behind."""
    directory = tmp_path_factory.mktemp("wheel")
    source = directory / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("app", "agents", "sql", "src"):
        ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", directory]
    subprocess.run([*command, source], check=True)
    (wheel,) = directory.glob("headrace-*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_wheel_has_nothing_at_the_top_but_headrace(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"headrace"}


def test_wheel_has_every_module_and_data_file(wheel_names: set[str]) -> None:
    expected = {"headrace/__init__.py", "headrace/py.typed", "headrace/app/broker/kafka.lock"}
    for layer in ("app", "agents", "sql"):
        expected |= {f"headrace/{path.relative_to(ROOT)}" for path in (ROOT / layer).rglob("*.py")}
    for static in ("app/page/static", "app/server/page/static"):
        expected |= {f"headrace/{path.relative_to(ROOT)}" for path in (ROOT / static).iterdir()}
    assert expected <= wheel_names


def test_wheel_has_the_licence(wheel_names: set[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_names)


@pytest.mark.parametrize("name", ["build.txt", "runtime.txt", "dev.txt"])
def test_locked_dependencies_have_hashes_and_no_hosts(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    assert "://" not in text
    requirements = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert requirements
    assert text.count("==") >= len(requirements)
    assert all(line.endswith("\\") for line in requirements)

"""Whether the image can be made for Linux on arm64: a wheel of the lock for each dependency, or a source to compile."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
COMPILED = {"faust-streaming"}
"""The Dockerfile compiles these where they have no wheel."""
GLIBC_MINORS = range(17, 42)
"""manylinux_2_17 to that of the base image, Debian 13."""
OF_ONE_ARCHITECTURE = re.compile(r"amd64|x86_64|aarch64|arm64|TARGETARCH|--platform")


def requirements(path: Path, python: str) -> dict[str, str]:
    """The lines of each dependency that is installed on Linux on arm64, hashes with them, by name."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": "aarch64",
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    found = {}
    for text in re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n", "", path.read_text())):
        first, *hashes = text.strip().split(" \\\n")
        requirement = Requirement(first)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            # pip would evaluate the marker for the Python that it runs in.
            found[requirement.name] = " \\\n".join([f"{requirement.name}{requirement.specifier}", *hashes])
    return found


def download(lines: list[str], python: str, directory: Path) -> int:
    """Let pip fetch the wheels and compare their hashes with the lock; returns its exit code."""
    file = directory / "requirements.txt"
    file.write_text("\n".join(lines) + "\n")
    platforms = ["manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in GLIBC_MINORS)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += [
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--dest",
        str(directory),
        "--requirement",
        str(file),
    ]
    command += ["--python-version", python, "--implementation", "cp"]
    command += [f"--platform={platform}" for platform in platforms]
    return subprocess.run(command, check=False).returncode


def main() -> int:
    dockerfile = (ROOT / "Dockerfile").read_text()
    instructions = "\n".join(line for line in dockerfile.splitlines() if not line.startswith("#"))
    if found := OF_ONE_ARCHITECTURE.search(instructions):
        sys.stderr.write(f"the Dockerfile depends on the architecture: {found.group()}\n")
        return 1
    (python,) = set(re.findall(r"^FROM python:(\d+\.\d+)-slim", dockerfile, re.MULTILINE))
    wanted = requirements(ROOT / "requirements/runtime.txt", python)
    with tempfile.TemporaryDirectory() as name:
        lines = [line for package, line in wanted.items() if package not in COMPILED]
        if download(lines, python, Path(name)):
            return 1
        wheels = len(list(Path(name).glob("*.whl")))
    assert wheels == len(lines)
    sys.stdout.write(
        f"Python {python}: {wheels} of {len(wanted)} dependencies have one; compiled: {', '.join(COMPILED)}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

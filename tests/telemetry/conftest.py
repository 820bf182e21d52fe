"""The broker and the apps of the integration tests, and a real OpenTelemetry collector, built once by Go."""

from __future__ import annotations

import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from tests.integration.conftest import broker, new_sql_app

__all__ = ["broker", "new_sql_app"]

VERSION = "0.155.0"
BUILDER = f"go.opentelemetry.io/collector/cmd/builder@v{VERSION}"


@pytest.fixture(scope="session")
def otelcol() -> Path:
    """The program; it takes some minutes to build, and is kept among the user's caches."""
    config = Path(__file__).with_name("builder.yaml")
    parts = sha256(config.read_bytes()).hexdigest()[:8]
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    cache = caches / "headrace" / f"otelcol-{VERSION}-{parts}"
    program = cache / "otelcol"
    if not program.exists():
        assert shutil.which("go"), "missing: go, which builds the collector"
        cache.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"GOBIN": str(cache)}
        subprocess.run(["go", "install", BUILDER], env=environment, check=True)
        command = [cache / "builder", f"--config={config}", f"--output-path={cache / 'build'}"]
        subprocess.run(command, check=True)
        (cache / "build" / "otelcol").rename(program)
    return program

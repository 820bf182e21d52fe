"""Where the development brokers of a user live on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Security(StrEnum):
    """How clients reach a broker."""

    PLAINTEXT = "plaintext"
    SECURE = "secure"
    """SASL_SSL with SCRAM-SHA-512: encrypted, and a user name with a password."""


@dataclass(frozen=True, slots=True)
class Home:
    """A folder with one subfolder per broker, and the jars that all of them share."""

    directory: Path
    jars: Path

    @classmethod
    def of_user(cls, environ: Mapping[str, str] = os.environ) -> Home:
        """`HEADRACE_HOME`, by default the user's cache folder; the jars can be kept elsewhere by `HEADRACE_JARS`."""
        cache = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        directory = Path(environ.get("HEADRACE_HOME") or Path(cache) / "headrace").absolute()
        jars = Path(environ.get("HEADRACE_JARS") or directory / "jars").absolute()
        return cls(directory, jars)

    def broker(self, port: int, security: Security) -> Path:
        """The folder of one broker. A secure one is another broker than a plain one on the same port."""
        return self.directory / "brokers" / f"{port}-{security}"

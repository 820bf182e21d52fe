"""The broker of the integration tests serves here too."""

from __future__ import annotations

from tests.integration.conftest import broker

__all__ = ["broker"]

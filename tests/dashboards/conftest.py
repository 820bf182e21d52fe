"""The broker of the integration tests."""

from tests.integration.conftest import broker

__all__ = ["broker"]

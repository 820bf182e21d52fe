"""The broker and the apps of the integration tests."""

from tests.integration.conftest import broker, new_sql_app

__all__ = ["broker", "new_sql_app"]

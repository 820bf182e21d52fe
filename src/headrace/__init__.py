"""Headrace: streaming SQL on Kafka, in Python."""

from typing import TYPE_CHECKING, Any

from headrace.sql.errors import SqlError

if TYPE_CHECKING:
    from headrace.app.application import App

__all__ = ["App", "SqlError"]


def __getattr__(name: str) -> Any:
    """`App` is imported when it is first used: importing headrace itself stays light."""
    if name == "App":
        from headrace.app.application import App

        return App
    raise AttributeError(f"module 'headrace' has no attribute {name!r}")

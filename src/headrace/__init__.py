"""Headrace: streaming SQL on Kafka, in Python."""

from typing import TYPE_CHECKING, Any

from headrace.sql.errors import SqlError, UdfError

if TYPE_CHECKING:
    from headrace.app.application import App
    from headrace.sql.functions.user import udaf, udf

__all__ = ["App", "SqlError", "UdfError", "udaf", "udf"]


def __getattr__(name: str) -> Any:
    """The others are imported when they are first used: importing headrace itself stays light."""
    if name == "App":
        from headrace.app.application import App

        return App
    if name in ("udaf", "udf"):
        from headrace.sql.functions import user

        return getattr(user, name)
    raise AttributeError(f"module 'headrace' has no attribute {name!r}")

"""Functions of a record's headers. Their first operand is the pseudo-column of all headers, which nobody writes."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.sql.errors import RecordError
from headrace.sql.functions.registry import ScalarFunction, Signature, one
from headrace.sql.types import BYTES, VARCHAR, map_type


def header_text(headers: Mapping[str, bytes | None], name: str) -> str | None:
    value = headers.get(name)
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        raise RecordError("header", f"the header `{name}` is not UTF-8") from None


def header_texts(headers: Mapping[str, bytes | None]) -> dict[str, str | None]:
    return {name: header_text(headers, name) for name in headers}


FUNCTIONS: tuple[ScalarFunction, ...] = (
    one(
        "HEADER",
        Signature(
            (map_type(BYTES), VARCHAR), VARCHAR, "header_text({0}, {1})", (header_text,), may_be_null=True, fails=True
        ),
        "The text of the record's last header of a name; NULL where it has none.",
    ),
    one(
        "HEADERS",
        Signature((map_type(BYTES),), map_type(VARCHAR), "header_texts({0})", (header_texts,), fails=True),
        "The texts of all headers by name; of those of one name, that of the last.",
    ),
)
BY_NAME = {function.name: function for function in FUNCTIONS}

"""Scalar functions that choose among their operands."""

from __future__ import annotations

from headrace.sql.functions.registry import ScalarFunction, Signature

FUNCTIONS: tuple[ScalarFunction, ...] = (
    ScalarFunction(
        "GREATEST",
        (),
        (Signature(("any",), None, "max({*})", variadic=True, skips_null=True),),
        "The largest of the values that are not NULL.",
        (("GREATEST(1, NULL, 3)", "3"),),
    ),
    ScalarFunction(
        "LEAST",
        (),
        (Signature(("any",), None, "min({*})", variadic=True, skips_null=True),),
        "The smallest of the values that are not NULL.",
        (("LEAST(2, NULL, 3)", "2"),),
    ),
)

"""Scalar functions that choose among their operands."""

from __future__ import annotations

from headrace.sql.functions.registry import Rewritten, ScalarFunction, Signature
from headrace.sql.types import INT, VARCHAR


def element_at(number: int | None, *texts: str | None) -> str | None:
    return texts[number - 1] if number is not None and 0 < number <= len(texts) else None


def place_among(text: str | None, *texts: str | None) -> int:
    return 0 if text is None or text not in texts else texts.index(text) + 1


REWRITTEN: tuple[Rewritten, ...] = (
    Rewritten(
        "COALESCE",
        (),
        "COALESCE(any, …)",
        "The first operand that is not NULL.",
        (("COALESCE(NULL, 2, 3)", "2"),),
    ),
    Rewritten("IFNULL", ("NVL",), "IFNULL(any, any)", "COALESCE of two operands.", (("IFNULL(NULL, 2)", "2"),)),
    Rewritten(
        "NULLIF",
        (),
        "NULLIF(any, any)",
        "The first operand; NULL where both are equal.",
        (("NULLIF(1, 2)", "1"), ("NULLIF(2, 2)", "CAST(NULL AS INT)")),
    ),
    Rewritten(
        "IF",
        (),
        "IF(BOOLEAN, any, any)",
        "The second operand where the first is TRUE, else the third.",
        (("IF(1 > 2, 'a', 'b')", "'b'"),),
    ),
    Rewritten(
        "TYPEOF",
        (),
        "TYPEOF(any)",
        "The name of the type.",
        (("TYPEOF(1.5)", "'DECIMAL(2, 1)'"),),
    ),
    Rewritten(
        "AS_VALUE",
        (),
        "AS_VALUE(any)",
        "The operand itself. In ksqlDB it makes a copy of a key column; here a key column is in the value anyway.",
        (("AS_VALUE('a')", "'a'"),),
    ),
    Rewritten(
        "IS_DISTINCT_FROM",
        (),
        "IS_DISTINCT_FROM(any, any)",
        "Whether the operands differ, where NULL is a value like others; the same as `a IS DISTINCT FROM b`.",
        (("IS_DISTINCT_FROM(1, NULL)", "TRUE"), ("IS_DISTINCT_FROM(1, 1)", "FALSE")),
    ),
)

FUNCTIONS: tuple[ScalarFunction, ...] = (
    ScalarFunction(
        "GREATEST",
        (),
        (Signature(("ordered",), None, "max({*})", variadic=True, skips_null=True),),
        "The largest of the values that are not NULL.",
        (("GREATEST(1, NULL, 3)", "3"),),
    ),
    ScalarFunction(
        "LEAST",
        (),
        (Signature(("ordered",), None, "min({*})", variadic=True, skips_null=True),),
        "The smallest of the values that are not NULL.",
        (("LEAST(2, NULL, 3)", "2"),),
    ),
    ScalarFunction(
        "ELT",
        (),
        (
            Signature(
                ("integer", VARCHAR),
                VARCHAR,
                "element_at({*})",
                (element_at,),
                variadic=True,
                sees_null=True,
                may_be_null=True,
            ),
        ),
        "The text with this number among those behind it, from 1; NULL where there is none.",
        (("ELT(2, 'a', 'b', 'c')", "'b'"), ("ELT(4, 'a', 'b', 'c')", "CAST(NULL AS VARCHAR)")),
    ),
    ScalarFunction(
        "FIELD",
        (),
        (Signature((VARCHAR, VARCHAR), INT, "place_among({*})", (place_among,), variadic=True, sees_null=True),),
        "The number of the first text among those behind it, from 1; 0 where it is not there, or NULL.",
        (("FIELD('b', 'a', 'b', 'c')", "2"), ("FIELD(NULL, 'a')", "0")),
    ),
)

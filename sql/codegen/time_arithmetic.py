"""Arithmetic of times and intervals, as templates of generated code. The one table of what `+ - * /` do with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from headrace.sql.runtime import times as w
from headrace.sql.runtime import values as v
from headrace.sql.types import Kind, Type

_T, _D, _C, _I, _M = Kind.TIMESTAMP, Kind.DATE, Kind.TIME, Kind.INTERVAL, Kind.MONTHS
KINDS = frozenset((_T, Kind.TIMESTAMP_LTZ, _D, _C, _I, _M))
_NUMBERS = (Kind.INT, Kind.BIGINT, Kind.DOUBLE, Kind.DECIMAL)
_INTEGERS = (Kind.INT, Kind.BIGINT)

_TEMPLATES: dict[tuple[str, Kind, Kind], tuple[Kind, str]] = {
    ("+", _T, _I): (_T, "in_bigint({0} + {1})"),
    ("-", _T, _I): (_T, "in_bigint({0} - {1})"),
    ("+", _T, _M): (_T, "add_months({0}, {1})"),
    ("-", _T, _M): (_T, "add_months({0}, -{1})"),
    ("-", _T, _T): (_I, "in_bigint({0} - {1})"),
    ("+", _D, _C): (_T, "({0} * 86400000 + {1})"),
    ("-", _D, _D): (Kind.INT, "({0} - {1})"),
    **{("+", _D, kind): (_D, "in_int({0} + {1})") for kind in _INTEGERS},
    **{("-", _D, kind): (_D, "in_int({0} - {1})") for kind in _INTEGERS},
    ("+", _C, _I): (_C, "(({0} + {1}) % 86400000)"),
    ("-", _C, _I): (_C, "(({0} - {1}) % 86400000)"),
    ("-", _C, _C): (_I, "({0} - {1})"),
    ("+", _I, _I): (_I, "in_bigint({0} + {1})"),
    ("-", _I, _I): (_I, "in_bigint({0} - {1})"),
    **{("*", _I, kind): (_I, "in_bigint({0} * {1})") for kind in _INTEGERS},
    ("*", _I, Kind.DOUBLE): (_I, "multiply_interval({0}, {1})"),
    ("*", _I, Kind.DECIMAL): (_I, "multiply_interval({0}, {1})"),
    **{("/", _I, kind): (_I, "divide_interval({0}, {1})") for kind in _NUMBERS},
    ("+", _M, _M): (_M, "in_int({0} + {1})"),
    ("-", _M, _M): (_M, "in_int({0} - {1})"),
    **{("*", _M, kind): (_M, "in_int({0} * {1})") for kind in _INTEGERS},
}
NAMES: dict[str, Any] = {
    "in_bigint": v.in_bigint,
    "in_int": v.in_int,
    "add_months": w.add_months,
    "multiply_interval": w.multiply_interval,
    "divide_interval": w.divide_interval,
}
"""What the templates call."""


def result_type(operator: str, left: Type, right: Type) -> Type | None:
    """The type of a result; None where the table has none. A DATE beside what takes a TIMESTAMP is one."""
    found = _entry(operator, left, right)
    if found is None:
        return None
    zoned = Kind.TIMESTAMP_LTZ in (left.kind, right.kind) and found[0] is _T
    return Type(Kind.TIMESTAMP_LTZ if zoned else found[0])


def template(operator: str, left: Type, right: Type) -> str:
    """Generated code of an operation, its operands in place of {0} and {1}."""
    found = _entry(operator, left, right)
    assert found is not None, "what the binder lets through"
    return found[1]


@lru_cache(maxsize=1000)
def calculator(operator: str, left: Type, right: Type) -> Callable[[Any, Any], Any]:
    """The operation as a function (what constants are folded with)."""
    code = template(operator, left, right).replace("{0}", "left").replace("{1}", "right")
    return eval(f"lambda left, right: {code}", dict(NAMES))  # type: ignore[no-any-return]


def _entry(operator: str, left: Type, right: Type) -> tuple[Kind, str] | None:
    kinds = [_T if type_.kind is Kind.TIMESTAMP_LTZ else type_.kind for type_ in (left, right)]
    found = _TEMPLATES.get((operator, kinds[0], kinds[1]))
    if found is None and _D in kinds:
        kinds = [_T if kind is _D else kind for kind in kinds]
        found = _TEMPLATES.get((operator, kinds[0], kinds[1]))
    return found

"""Functions of time that are other expressions by another name: EXTRACT, TIMESTAMPADD and their like."""

from __future__ import annotations

from dataclasses import replace

from headrace.sql import expressions as e
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.errors import did_you_mean, sql_error
from headrace.sql.functions import scalars, time_fields
from headrace.sql.intervals import UNITS, UNITS_MONTHS, UNITS_MS, unit_of
from headrace.sql.operations import arithmetic, call, cast

_FIELDS = ("EXTRACT", "DATE_PART")
_ADDING = ("TIMESTAMPADD", "DATEADD", "TIMEADD")
_SUBTRACTING = ("TIMESTAMPSUB", "DATESUB", "TIMESUB")
REFUSED = {
    "CURRENT_WATERMARK": "a row does not know the watermark: it depends on the other rows of its batch",
}
NAMES = (*_FIELDS, *_ADDING, *_SUBTRACTING, *REFUSED)


def rewritten(node: s.FunctionCall, operands: list[e.Expr]) -> e.Expr:
    """The expression that a call stands for."""
    if node.name in REFUSED:
        raise sql_error(f"{node.name} is not supported: {REFUSED[node.name]}", node.span)
    if node.name in _FIELDS:
        return _field(node, operands)
    if len(operands) != 3:
        raise sql_error(f"{node.name} takes three operands", node.span, f"for example {node.name}(DAY, 1, t)")
    word, amount, time = operands
    unit = unit_of(word.value) if isinstance(word, e.Literal) and isinstance(word.value, str) else None
    if unit is None:
        raise sql_error(f"{node.name} takes a unit of time first", node.arguments[0].span, f"known: {', '.join(UNITS)}")
    if not (amount.type.is_integer or amount.type.kind is t.Kind.NULL):
        raise sql_error(f"{node.name} takes a whole number, found {amount.type}", node.arguments[1].span)
    one = e.Literal(UNITS_MONTHS[unit], t.MONTHS) if unit in UNITS_MONTHS else e.Literal(UNITS_MS[unit], t.INTERVAL)
    interval = arithmetic("*", one, amount, node.span)
    result = arithmetic("+" if node.name in _ADDING else "-", time, interval, node.span)
    is_day = time.type.kind is t.Kind.DATE and UNITS_MS.get(unit, UNITS_MS["DAY"]) % UNITS_MS["DAY"] == 0
    return cast(result, t.DATE, node.span) if is_day else result


def _field(node: s.FunctionCall, operands: list[e.Expr]) -> e.Expr:
    if len(operands) != 2:
        raise sql_error(f"{node.name} takes a field and a time", node.span)
    field, time = operands
    if not isinstance(field, e.Literal) or not isinstance(field.value, str):
        raise sql_error(f"{node.name} takes the name of a field first", node.arguments[0].span)
    name = field.value.upper()
    if name not in time_fields.FIELDS:
        name = unit_of(name) or name
    if name not in time_fields.FIELDS:
        hint = did_you_mean(name, time_fields.FIELDS)
        raise sql_error(f"`{field.value}` is not a field of a time", node.arguments[0].span, hint)
    return call(scalars.BY_NAME[name], [time], replace(node, name=name, arguments=node.arguments[1:]))

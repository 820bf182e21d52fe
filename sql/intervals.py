"""Units of time, and the texts of intervals: `1 day 2 hours`, `1-3`, `1 02:03:04`."""

from __future__ import annotations

import re
from decimal import Decimal

MAX_DURATION_MS = 10**15
MAX_DURATION_MONTHS = 12 * 10**4
UNITS_MS = {
    "MILLISECOND": 1,
    "SECOND": 1_000,
    "MINUTE": 60_000,
    "HOUR": 3_600_000,
    "DAY": 86_400_000,
    "WEEK": 604_800_000,
}
UNITS_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
UNITS = (*UNITS_MS, *UNITS_MONTHS)
_SHORT = {"MS": "MILLISECOND", "S": "SECOND", "SEC": "SECOND", "M": "MINUTE", "MIN": "MINUTE", "H": "HOUR"}
_SHORT |= {"HR": "HOUR", "D": "DAY", "W": "WEEK", "MON": "MONTH", "Y": "YEAR", "YR": "YEAR", "MSEC": "MILLISECOND"}
_FIELDS = ("DAY", "HOUR", "MINUTE", "SECOND")
_PART = re.compile(
    r"\s*(?:(?P<sign>[+-])?(?P<hour>\d+):(?P<minute>\d\d)(?::(?P<second>\d\d(?:\.\d+)?))?"
    r"|(?P<amount>[+-]?(?:\d+\.?\d*|\.\d+))\s*(?P<unit>[A-Za-z]+))(?=\s|$)"
)
_YEARS = re.compile(r"(?P<sign>[+-]?)(?P<year>\d+)-(?P<month>\d\d?)")


def unit_of(word: str) -> str | None:
    """The unit that a word names, singular or plural, long or short; None where it names none."""
    name = word.strip().upper()
    for candidate in (name, name.removesuffix("S")):
        candidate = _SHORT.get(candidate, candidate)
        if candidate in UNITS:
            return candidate
    return None


def amount_of(text: str, unit: str) -> tuple[int, int]:
    """(months, milliseconds) of an amount of a unit. ValueError says what is wrong with it."""
    try:
        amount = Decimal(text) * (UNITS_MONTHS.get(unit) or UNITS_MS[unit])
        is_usable = abs(amount) <= (MAX_DURATION_MONTHS if unit in UNITS_MONTHS else MAX_DURATION_MS)
    except ArithmeticError:
        raise ValueError(f"`{text}` is not an amount of time") from None
    if not is_usable:
        raise ValueError(f"`{text}` {unit} is longer than any duration")
    if amount != amount.to_integral_value():
        finest = "one month" if unit in UNITS_MONTHS else "one millisecond"
        raise ValueError(f"durations have a resolution of {finest}")
    return (int(amount), 0) if unit in UNITS_MONTHS else (0, int(amount))


def parse(text: str) -> tuple[int, int]:
    """(months, milliseconds) of a text that names its units. ValueError says what is wrong with it."""
    months = milliseconds = position = 0
    while position < len(text.rstrip()):
        match = _PART.match(text, position)
        if match is None:
            raise ValueError(f"`{text}` is not an amount of time")
        position = match.end()
        if match["unit"] is not None:
            unit = unit_of(match["unit"])
            if unit is None:
                raise ValueError(f"`{match['unit']}` is not a unit of time")
            more = amount_of(match["amount"], unit)
        else:
            fields = [match[name.lower()] or "0" for name in _FIELDS[1:]]
            more = _clock(match["sign"] or "", fields, _FIELDS[1:])
        months, milliseconds = months + more[0], milliseconds + more[1]
    if position == 0:
        raise ValueError(f"`{text}` is not an amount of time")
    return months, milliseconds


def parse_span(text: str, first: str, last: str) -> tuple[int, int]:
    """(months, milliseconds) of a text whose fields go from one unit to another: `'1-3' YEAR TO MONTH`."""
    if (first, last) == ("YEAR", "MONTH"):
        match = _YEARS.fullmatch(text.strip())
        if match is None or int(match["month"]) > 11:
            raise ValueError(f"`{text}` has not the form of YEAR TO MONTH: '1-3'")
        months = int(match["year"]) * 12 + int(match["month"])
        return amount_of(f"{match['sign']}{months}", "MONTH")
    if first not in _FIELDS or last not in _FIELDS or _FIELDS.index(first) >= _FIELDS.index(last):
        raise ValueError(f"{first} TO {last} is no interval; DAY TO SECOND and YEAR TO MONTH are")
    names = _FIELDS[_FIELDS.index(first) : _FIELDS.index(last) + 1]
    values = re.split(r"[ :]+", text.strip().lstrip("+-"))
    if len(values) != len(names) or not all(re.fullmatch(r"\d+(\.\d+)?", value) for value in values):
        example = "1 02:03:04" if first == "DAY" else "02:03"
        raise ValueError(f"`{text}` has not the form of {first} TO {last}: for example '{example}'")
    return _clock("-" if text.strip().startswith("-") else "", values, names)


def _clock(sign: str, values: list[str], names: tuple[str, ...]) -> tuple[int, int]:
    for value, name in list(zip(values, names, strict=True))[1:]:
        if (name != "HOUR" and Decimal(value) >= 60) or (name == "HOUR" and Decimal(value) >= 24):
            raise ValueError(f"`{value}` is no number of {name.lower()}s beside larger units")
    total = sum(amount_of(value, name)[1] for value, name in zip(values, names, strict=True))
    return 0, -total if sign == "-" else total

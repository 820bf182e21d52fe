"""Access to the parts of JSON texts: by `->`, and by paths such as `$.a[0].b`."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from headrace.sql.errors import RecordError

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode

Step = str | int
MISSING = object()
"""What a path that leads nowhere gives; JSON's null is None."""


def parsed(text: str) -> Any:
    """The value of a JSON text, numbers with a point as Decimal. RecordError where it is none."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, ArithmeticError) as error:
        raise RecordError("json", f"not JSON: {error}") from None
    except RecursionError:
        raise RecordError("json", "JSON nested too deeply") from None


def text_of(value: Any) -> str:
    """The JSON text of a value."""
    return _encode(value).decode()


def scalar_text(value: Any) -> str | None:
    """A value as VARCHAR: a string without quotes, anything else as JSON; NULL for null."""
    if value is None or isinstance(value, str):
        return value
    return text_of(value)


def step_into(value: Any, step: Step) -> Any:
    """A field or an element (from 0; negative from the end); MISSING where there is none."""
    if isinstance(value, dict) and isinstance(step, str):
        return value.get(step, MISSING)
    if isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
        return value[step]
    return MISSING


def json_part(text: str, step: Step) -> str | None:
    """`text -> step`."""
    found = step_into(parsed(text), step)
    return None if found is MISSING else text_of(found)


def json_part_text(text: str, step: Step) -> str | None:
    """`text ->> step`."""
    found = step_into(parsed(text), step)
    return None if found is MISSING else scalar_text(found)


_STEP = re.compile(
    r"""\.([\w-]+) | \.?\["((?:[^"\\]|\\.)*)"\] | \.?\['((?:[^'\\]|\\.)*)'\] | \.?\[(-?\d{1,9})\] | \."([^"]*)\"""",
    re.VERBOSE,
)


@lru_cache(maxsize=1000)
def json_path(path: str) -> tuple[Step, ...]:
    """The steps of a path: `$`, then `.name`, `['name']`, `[0]`. RecordError where it is none."""
    text = path.strip()
    for mode in ("lax ", "strict "):
        text = text.removeprefix(mode)
    if not text.startswith("$"):
        raise RecordError("json", f"'{path}' is not a path: it begins with $")
    steps: list[Step] = []
    position = 1
    while position < len(text):
        found = _STEP.match(text, position)
        if found is None:
            raise RecordError("json", f"'{path}' is not a path such as $.a[0].b")
        name = next((group for group in (found[1], found[2], found[3], found[5]) if group is not None), None)
        steps.append(int(found[4]) if name is None else name)
        position = found.end()
    return tuple(steps)


def at_path(text: str, path: str) -> Any:
    """The value at a path; MISSING where there is none."""
    value = parsed(text)
    for step in json_path(path):
        value = step_into(value, step)
        if value is MISSING:
            break
    return value


def json_array(items: tuple[str | None, ...]) -> str:
    """An array of JSON texts; NULL is null."""
    return f"[{','.join('null' if item is None else item for item in items)}]"


def json_object(parts: tuple[str | None, ...]) -> str:
    """An object of names and JSON texts by turns; of equal names the last one counts."""
    if None in parts[::2]:
        raise RecordError("null", "a name in JSON is NULL")
    fields = dict(zip(parts[::2], parts[1::2], strict=True))
    shown = (f"{text_of(name)}:{'null' if item is None else item}" for name, item in fields.items())
    return f"{{{','.join(shown)}}}"

"""Windows as generated code: in which windows an event time is, where a window starts."""

from __future__ import annotations

from headrace.sql.codegen.expressions import Names
from headrace.sql.runtime.days import Days
from headrace.sql.windows import Cumulating, Daily, Hopping, Several, Single, Tumbling, step_of


def end_code(window: Single, time: str, names: Names) -> str:
    """The end of the one window that a time is in."""
    if isinstance(window, Daily):
        return f"{_days(window, names)}.end({time})"
    return f"{_last_boundary(time, window.size_ms, window.offset_ms)} + {window.size_ms}"


def ends_code(window: Several, time: str) -> tuple[str, str]:
    """The ends of the first and of the last window that a time is in, which are `step_of` apart from each other.

    Where the windows leave gaps, the last may be before the first: then there is none.
    """
    step = step_of(window)
    if isinstance(window, Hopping):
        first = f"{_last_boundary(time, step, (window.offset_ms + window.size_ms) % step)} + {step}"
        return first, f"{_last_boundary(time, step, window.offset_ms)} + {window.size_ms}"
    first = f"{_last_boundary(time, step, window.offset_ms % step)} + {step}"
    return first, f"{_last_boundary(time, window.size_ms, window.offset_ms)} + {window.size_ms}"


def start_code(window: Single | Several, end: str, names: Names) -> str:
    """The start of the window that ends there."""
    match window:
        case Tumbling() | Hopping():
            return f"{end} - {window.size_ms}"
        case Cumulating():
            return _last_boundary(f"({end} - 1)", window.size_ms, window.offset_ms)
        case Daily():
            return f"{_days(window, names)}.start({end})"


def may_fail(window: object) -> bool:
    """Whether a time may be outside of what the windows cover."""
    return isinstance(window, Daily)


def _last_boundary(time: str, step_ms: int, offset_ms: int) -> str:
    """The last of the times `offset + n * step` that is not after a time."""
    return f"{time} - ({time} - {offset_ms}) % {step_ms}" if offset_ms else f"{time} - {time} % {step_ms}"


def _days(window: Daily, names: Names) -> str:
    for name, value in names.bound.items():
        if isinstance(value, Days) and value.of == (window.days, window.zone):
            return name
    return names.bind("days", Days(window.days, window.zone))

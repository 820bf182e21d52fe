"""What is known of the event times of a node's rows: which columns have their order, and whether they are windows."""

from __future__ import annotations

from headrace.sql import plan as p
from headrace.sql.expressions import Arithmetic, Column, Expr, Literal
from headrace.sql.record_parts import Part
from headrace.sql.types import Kind, Type
from headrace.sql.vocabulary import Emit
from headrace.sql.windows import Daily, Hopping, Tumbling, Window

_ORDERED = (Kind.TIMESTAMP, Kind.TIMESTAMP_LTZ, Kind.BIGINT)


def time_columns(node: p.Node) -> frozenset[str]:
    """Columns that have the order of the rows' event times, and are equal where these are."""
    ordered = frozenset(column.name for column in node.columns if column.type.kind in _ORDERED)
    return ordered & moved_times(node).keys()


def event_time_columns(node: p.Node) -> frozenset[str]:
    """Columns that are the event time of the rows."""
    return frozenset(name for name, moved_ms in moved_times(node).items() if moved_ms == 0)


def moved_times(node: p.Node) -> dict[str, int | None]:
    """Columns that are the event time of the rows moved by a time, in milliseconds; None: not always by the same."""
    match node:
        case p.Scan():
            name = node.source.event_time.column
            declared = () if name is None else (name,)
            parts = (*node.source.columns, *node.source.pseudo_columns)
            of_record = (column.name for column in parts if column.part is not None and column.part.part is Part.TIME)
            return dict.fromkeys((*declared, *of_record), 0)
        case p.Project():
            below = moved_times(node.input)
            found = ((name, _moved(expr, below)) for name, expr in node.items)
            return {name: moved[0] for name, moved in found if moved is not None}
        case p.Aggregate():
            return _bounds(node.window) if _is_final_window(node) else {}
        case p.TopN(windowed=False):
            return {}
        case p.Union():
            first, *others = map(moved_times, node.branches)
            together = set(first.items()).intersection(*(other.items() for other in others))
            return {name: moved_ms for name, moved_ms in together if moved_ms is not None}
        case p.Filter() | p.Unnest() | p.Over() | p.TopN() | p.Rekey():
            return moved_times(node.input)


def _moved(expr: Expr, times: dict[str, int | None]) -> tuple[int | None] | None:
    """By how much an expression moves the event time; None where it is no moved event time (as window_time is)."""
    match expr:
        case Column(name=name):
            return (times[name],) if name in times else None
        case Arithmetic(operator="+" | "-", left=left, right=Literal(type=Type(kind=Kind.INTERVAL), value=int() as by)):
            below = _moved(left, times)
            if below is None or below[0] is None:
                return below
            return (below[0] + by if expr.operator == "+" else below[0] - by,)
    return None


def _bounds(window: Window | None) -> dict[str, int | None]:
    """A row of a window has the time of its end less 1 ms; where all windows have one length, so is its start moved."""
    match window:
        case Tumbling(size_ms=size_ms) | Hopping(size_ms=size_ms):
            return {p.WINDOW_END: 1, p.WINDOW_START: 1 - size_ms}
        case Daily():  # some days have 23 hours
            return {p.WINDOW_END: 1, p.WINDOW_START: None}
    return {p.WINDOW_END: 1}


def is_windowed(node: p.Node) -> bool:
    """Whether rows are results of windows that have closed, which all have the event time of their window's end."""
    while isinstance(node, (p.Filter, p.Project, p.Unnest, p.Over, p.TopN, p.Rekey)):
        node = node.input
    return isinstance(node, p.Aggregate) and _is_final_window(node)


def _is_final_window(node: p.Aggregate) -> bool:
    return node.window is not None and node.emit is Emit.FINAL

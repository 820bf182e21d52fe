"""What is known of the event times of a node's rows: which columns have their order, and whether they are windows."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.sql import plan as p
from headrace.sql.expressions import Arithmetic, Column, Expr, Literal
from headrace.sql.record_parts import Part
from headrace.sql.syntax import Emit
from headrace.sql.types import Kind, Type
from headrace.sql.windows import Daily, Hopping, Tumbling


def time_columns(node: p.Node) -> frozenset[str]:
    """Columns that have the order of the rows' event times, and are equal where these are."""
    match node:
        case p.Scan():
            name = node.source.event_time.column
            ordered = (Kind.TIMESTAMP, Kind.TIMESTAMP_LTZ, Kind.BIGINT)
            declared = (c.name for c in node.columns if c.name == name and c.type.kind in ordered)
            parts = (*node.source.columns, *node.source.pseudo_columns)
            of_record = (c.name for c in parts if c.part is not None and c.part.part is Part.TIME)
            return frozenset((*declared, *of_record))
        case p.Project():
            below = time_columns(node.input)
            return frozenset(name for name, expr in node.items if _keeps_order(expr, below))
        case p.Aggregate():
            return frozenset(_bounds_in_order(node)) if _is_final_window(node) else frozenset()
        case p.TopN(windowed=False):
            return frozenset()
        case p.Filter() | p.Unnest() | p.Over() | p.TopN():
            return time_columns(node.input)


def _keeps_order(expr: Expr, times: frozenset[str]) -> bool:
    """Whether an expression is one of the columns, perhaps moved by a constant time (as window_time is)."""
    match expr:
        case Column(name=name):
            return name in times
        case Arithmetic(operator="+" | "-", left=left, right=Literal(type=Type(kind=Kind.INTERVAL))):
            return _keeps_order(left, times)
    return False


def _bounds_in_order(node: p.Aggregate) -> Iterator[str]:
    """A row of a window has the time of its end; where all windows have one length, so has their start that order."""
    yield p.WINDOW_END
    if isinstance(node.window, (Tumbling, Daily, Hopping)):
        yield p.WINDOW_START


def is_windowed(node: p.Node) -> bool:
    """Whether rows are results of windows that have closed, which all have the event time of their window's end."""
    while isinstance(node, (p.Filter, p.Project, p.Unnest, p.Over, p.TopN)):
        node = node.input
    return isinstance(node, p.Aggregate) and _is_final_window(node)


def _is_final_window(node: p.Aggregate) -> bool:
    return node.window is not None and node.emit is Emit.FINAL

"""Rows that clauses cannot take: numbered without a limit, later than their time says, or timed by arrival."""

from __future__ import annotations

from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql.errors import Span, sql_error


def refuse_rows_behind_time(node: p.Node, select: s.Select, what: str) -> None:
    """SqlError for rows that come out later than their event time says, where that counts."""
    if p.looks_ahead(node):
        raise sql_error(
            f"{what} over rows with LEAD is not supported: they come later than their event time says",
            select.source.span,
            "LAG in their place, or LEAD in the last query",
        )


def refuse_times_by_arrival(node: p.Node, select: s.Select, what: str) -> None:
    """SqlError for rows whose event time depends on which of several came first, where that counts."""
    if p.timed_by_arrival(node):
        raise sql_error(
            f"{what} over the rows of DISTINCT is not supported: their time is that of the row that came first",
            select.source.span,
            "ROW_NUMBER() OVER (PARTITION BY … ORDER BY the event time) = 1 gives the first rows in the order of time",
        )


def check_limited(node: p.Node, span: Span) -> None:
    """SqlError for rows numbered in an order of their own that no WHERE around them limits."""
    origin = p.origin_of(node)
    if not isinstance(origin, p.TopN) or origin.limit is not None:
        return
    raise sql_error(
        "ROW_NUMBER in another order than that of event time needs a limit: any new row could change every number",
        span,
        "SELECT … FROM (SELECT …, ROW_NUMBER() OVER (…) AS n …) WHERE n <= 10",
    )

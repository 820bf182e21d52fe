"""The aggregate functions, all of them by name. To add one, add an entry to the module of its family."""

from __future__ import annotations

from headrace.sql.functions import edges, gatherings, statistics, totals
from headrace.sql.functions.accumulators import AggregateFunction

FAMILIES: dict[str, tuple[AggregateFunction, ...]] = {
    "Totals": totals.FUNCTIONS,
    "Values of rows": edges.FUNCTIONS,
    "Statistics": statistics.FUNCTIONS,
    "Gatherings": gatherings.FUNCTIONS,
}
FUNCTIONS: tuple[AggregateFunction, ...] = tuple(f for family in FAMILIES.values() for f in family)
BY_NAME: dict[str, AggregateFunction] = {name: f for f in FUNCTIONS for name in (f.name, *f.aliases)}

"""Top-N: a WHERE that limits the numbers of ROW_NUMBER in an order of their own makes them a thing that can be kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql.errors import Span, sql_error

LIMIT_MAX = 10_000


def filtered(node: p.Node, predicate: e.Expr, span: Span) -> p.Node:
    """The rows for which a predicate is TRUE. Where it limits numbers that had no limit, they have it then."""
    name = _number_of(node)
    if name is None:
        return p.Filter(node, predicate)
    conjuncts = list(_conjuncts(predicate))
    limits = [limit for limit in (_limit(part, name) for part in conjuncts) if limit is not None]
    if not limits and any(_is_fraction(part, name) for part in conjuncts):
        raise sql_error(f"a limit of `{name}` is a whole number", span)
    if not limits:
        return p.Filter(node, predicate)
    limit = min(limits)
    if limit < 1:
        raise sql_error(f"`{name}` counts from 1: no row passes", span)
    if limit > LIMIT_MAX:
        raise sql_error(f"a Top-N keeps at most {LIMIT_MAX} rows of a partition", span)
    node = _limited(node, limit)
    rest = [part for part in conjuncts if not _says_nothing_more(part, name, limit)]
    for part in rest:
        node = p.Filter(node, part)
    return node


def _number_of(node: p.Node) -> str | None:
    """The column with the numbers of a TopN that has no limit yet."""
    match node:
        case p.TopN(limit=None):
            return node.number
        case p.Filter():
            return _number_of(node.input)
        case p.Project():
            below = _number_of(node.input)
            return next((n for n, expr in node.items if isinstance(expr, e.Column) and expr.name == below), None)
    return None


def _limited(node: p.Node, limit: int) -> p.Node:
    match node:
        case p.TopN():
            return replace(node, limit=limit)
        case p.Filter() | p.Project():
            return replace(node, input=_limited(node.input, limit))
    raise AssertionError("numbers without a limit come from a TopN")


def _conjuncts(predicate: e.Expr) -> Iterator[e.Expr]:
    if isinstance(predicate, e.Logical) and predicate.operator == "AND":
        yield from _conjuncts(predicate.left)
        yield from _conjuncts(predicate.right)
    else:
        yield predicate


def _limit(part: e.Expr, name: str) -> int | None:
    """The largest number that passes a condition; None where it sets no limit."""
    match part:
        case e.Comparison(operator=operator, left=e.Column(name=column), right=e.Literal(value=int() as value)) if (
            column == name
        ):
            return {"<=": value, "<": value - 1, "=": value}.get(operator)
        case e.Comparison(operator=operator, left=e.Literal(value=int() as value), right=e.Column(name=column)) if (
            column == name
        ):
            return {">=": value, ">": value - 1, "=": value}.get(operator)
        case e.InValues(operand=e.Column(name=column), values=values) if column == name:
            numbers = [value for value in values if isinstance(value, int)]
            return max(numbers, default=None)
    return None


def _is_fraction(part: e.Expr, name: str) -> bool:
    """Whether a condition compares the numbers with a DECIMAL or DOUBLE."""
    if not isinstance(part, e.Comparison):
        return False
    sides = [side.operand if isinstance(side, e.Cast) else side for side in (part.left, part.right)]
    has_number = any(isinstance(side, e.Column) and side.name == name for side in sides)
    return has_number and any(isinstance(side, e.Literal) and isinstance(side.value, Decimal | float) for side in sides)


def _says_nothing_more(part: e.Expr, name: str, limit: int) -> bool:
    """Whether a condition is TRUE of every number up to the limit."""
    if isinstance(part, e.Comparison) and part.operator != "=":
        found = _limit(part, name)
        return found is not None and found >= limit
    return limit == 1 and _limit(part, name) == 1 and isinstance(part, e.Comparison)

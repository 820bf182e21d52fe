"""Rewrites of the logical plan: pure rules, each keeping what a query means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from headrace.sql import expressions as e
from headrace.sql import plan as p

Rule = Callable[[p.Node], p.Node]


def merge_filters(node: p.Node) -> p.Node:
    """A filter over a filter is one filter (rows that the inner one shares with others stay as they are)."""
    if isinstance(node, p.Filter) and isinstance(node.input, p.Filter):
        return p.Filter(node.input.input, e.Logical("AND", node.input.predicate, node.predicate))
    return node


def drop_true_filters(node: p.Node) -> p.Node:
    """A filter that keeps every row is none."""
    if isinstance(node, p.Filter) and isinstance(node.predicate, e.Literal) and node.predicate.value is True:
        return node.input
    return node


def trust_filters(node: p.Node) -> p.Node:
    """Above a filter that only rows without NULL in a column pass, the column is NOT NULL."""
    if not isinstance(node, (p.Project, p.Aggregate, p.Rekey)):
        return node
    below = node.input
    while isinstance(below, p.Rekey):
        below = below.input
    proven = frozenset(_not_null(below.predicate)) if isinstance(below, p.Filter) else frozenset()
    return _with_known(node, proven) if proven else node


RULES: tuple[Rule, ...] = (merge_filters, drop_true_filters, trust_filters)


def rewrite(plan: p.LogicalPlan) -> p.LogicalPlan:
    """The plan with every rule applied to every node, from the sources up. Shared nodes stay shared."""
    done: dict[int, p.Node] = {}
    kept: list[p.Node] = []  # keeps the nodes alive whose ids are the keys of `done`

    def visit(node: p.Node) -> p.Node:
        if id(node) not in done:
            kept.append(node)
            result: p.Node = node
            match node:
                case p.Scan():
                    pass
                case p.Union():
                    result = replace(node, branches=tuple(map(visit, node.branches)))
                case _:
                    below = visit(node.input)
                    result = node if below is node.input else replace(node, input=below)
            for rule in RULES:
                result = rule(result)
            done[id(node)] = result
        return done[id(node)]

    queries = tuple(replace(query, node=visit(query.node)) for query in plan.queries)
    explained = tuple(replace(query, node=visit(query.node)) for query in plan.explained)
    views = tuple((name, done[id(node)]) for name, node in plan.views if id(node) in done)
    return replace(plan, queries=queries, explained=explained, views=views)


def _not_null(predicate: e.Expr) -> list[str]:
    """Columns that are not NULL wherever the predicate is TRUE."""
    match predicate:
        case e.Logical(operator="AND"):
            return _not_null(predicate.left) + _not_null(predicate.right)
        case e.Comparison():
            return [side.name for side in (predicate.left, predicate.right) if isinstance(side, e.Column)]
        case e.InValues(operand=e.Column() as column) | e.Like(operand=e.Column() as column):
            return [column.name]
        case e.Call() if not (predicate.signature.skips_null or predicate.signature.sees_null):
            return [operand.name for operand in predicate.operands if isinstance(operand, e.Column)]
        case e.Not(operand=e.IsNull(operand=e.Column() as column)):
            return [column.name]
    return []


def _with_known(node: p.Project | p.Aggregate | p.Rekey, proven: frozenset[str]) -> p.Node:
    if isinstance(node, p.Rekey):
        return replace(node, keys=tuple(_known(column, proven) for column in node.keys))
    if isinstance(node, p.Project):
        return replace(node, items=tuple((name, _known(expr, proven)) for name, expr in node.items))
    keys = tuple((name, _known(expr, proven)) for name, expr in node.keys)
    calls = tuple((name, call.over(lambda expr: _known(expr, proven))) for name, call in node.calls)
    return replace(node, keys=keys, calls=calls)


def _known(expression: Any, proven: frozenset[str]) -> Any:
    """The expression with the proven columns NOT NULL."""
    if isinstance(expression, e.Column):
        return replace(expression, nullable=False) if expression.name in proven else expression
    if isinstance(expression, e.Shared):
        return expression
    if isinstance(expression, tuple):
        return tuple(_known(part, proven) for part in expression)
    if isinstance(expression, e.Expr) and is_dataclass(expression):
        changes = {
            field.name: _known(value, proven)
            for field in fields(expression)
            if isinstance(value := getattr(expression, field.name), (tuple, e.Expr))
        }
        return replace(expression, **changes) if changes else expression
    return expression

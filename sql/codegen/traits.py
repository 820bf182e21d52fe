"""Small facts about operators that generated code depends on, and how they are named in its comments."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.sql import physical as ph
from headrace.sql import plan as p
from headrace.sql.codegen.expressions import fails
from headrace.sql.codegen.windows import may_fail as window_may_fail
from headrace.sql.expressions import Column
from headrace.sql.types import Kind, python_type
from headrace.sql.windows import Several, Window


def row_struct(columns: tuple[Column, ...], window: Window | None, *, ordered: bool) -> type:
    """The rows that cross a repartition topic: columns, event time, and where it matters, the first window that they
    may be added to, and the rest of their order.
    """
    fields: list[tuple[str, Any]] = []
    for index, column in enumerate(columns):
        python = python_type(column.type)
        fields.append((f"c{index}", python | None if column.nullable else python))
    fields.append(("time", int))
    if isinstance(window, Several):
        fields.append(("first", int))
    if ordered:
        fields += [("origin", int | bytes), ("position", int)]
    return msgspec.defstruct("Row", fields, array_like=True, gc=False)


def row_fields(input_: ph.ExchangeInput) -> list[str]:
    return [f"c{index}" for index in range(len(input_.rows))]


def reached(operators: tuple[ph.Operator, ...], *, filtered: bool) -> list[tuple[ph.SinkOp, bool]]:
    """Sinks that rows reach without being aggregated again, and whether a filter stands before them."""
    found: list[tuple[ph.SinkOp, bool]] = []
    for operator in operators:
        if isinstance(operator, ph.SinkOp):
            found.append((operator, filtered))
        elif isinstance(operator, (ph.FilterOp, ph.ProjectOp, ph.UnnestOp, ph.RekeyOp, ph.BranchOp)):
            found += reached(operator.consumers, filtered=filtered or isinstance(operator, ph.FilterOp))
    return found


def needs_of(operator: ph.Operator) -> frozenset[str]:
    """What a consumer of source rows needs beside rows and times."""
    needs: set[str] = set()
    match operator:
        case ph.SinkOp():
            needs |= {"keys", "headers"}
        case ph.AggregateOp():
            if operator.window is not None or operator.ttl_ms is not None:
                needs.add("newest")
            if any(call.aggregation.ordered for _, call in operator.calls):
                needs.add("offsets")
        case ph.RowsToExchange():
            if operator.window is not None or operator.ttl_ms is not None:
                needs.add("newest")
            if operator.timed:
                needs.add("newest")
            if operator.ordered:
                needs.add("offsets")
        case ph.OverOp():
            needs |= {"newest", "offsets"}
            if not operator.rekeyed:
                needs |= {"keys", "headers"} & frozenset().union(*map(needs_of, operator.consumers))
        case ph.TopOp():
            needs.add("offsets")
        case ph.FilterOp() | ph.ProjectOp() | ph.UnnestOp() | ph.BranchOp():
            for consumer in operator.consumers:
                needs |= needs_of(consumer)
        case ph.RekeyOp():
            for consumer in operator.consumers:
                needs |= needs_of(consumer) - {"keys"}
    return frozenset(needs)


def may_fail(operator: ph.Operator) -> bool:
    """Whether evaluating an operator for a row may raise RecordError."""
    match operator:
        case ph.FilterOp():
            return fails(operator.predicate) or any(map(may_fail, operator.consumers))
        case ph.ProjectOp() | ph.UnnestOp():
            return any(fails(expr) for _, expr in operator.items) or any(map(may_fail, operator.consumers))
        case ph.AggregateOp():
            operands = [expr for _, call in operator.calls for expr in call.inputs]
            is_failing = any(map(fails, operands)) or any(fails(expr) for _, expr in operator.keys)
            return is_failing or window_may_fail(operator.window)
        case ph.RowsToExchange():
            is_failing = any(fails(expr) for _, expr in (*operator.keys, *operator.operands))
            return is_failing or window_may_fail(operator.window)
        case ph.SinkOp():
            types = [column.type for column in operator.query.node.columns]
            types += [type_ for _, type_ in p.key_parts(operator.query.node) or ()]
            kinds = {part.kind for type_ in types for part in type_.walk()}
            formatted = operator.query.sink.timestamp_format is not None
            # a time may be out of the range of its text
            return Kind.DATE in kinds or (formatted and bool({Kind.TIMESTAMP, Kind.TIMESTAMP_LTZ} & kinds))
        case ph.RekeyOp() | ph.BranchOp():
            return any(map(may_fail, operator.consumers))
        case ph.OverOp() | ph.TopOp() | ph.PartialsToExchange():
            return False


def first_query(operator: ph.Operator) -> p.Query:
    match operator:
        case ph.SinkOp() | ph.AggregateOp() | ph.OverOp() | ph.TopOp() | ph.RowsToExchange():
            return operator.query
        case ph.FilterOp() | ph.ProjectOp() | ph.UnnestOp() | ph.RekeyOp() | ph.BranchOp():
            return first_query(operator.consumers[0])
        case ph.PartialsToExchange():
            raise AssertionError("partial aggregates are sent by their aggregation")


def purpose(operator: ph.Operator) -> str:
    return comment(first_query(operator).name)


def describe(operator: ph.AggregateOp) -> str:
    by = ", ".join(comment(name) for name, _ in operator.keys) or "everything"
    window = f", {operator.window}" if operator.window else ""
    ttl = f", ttl {operator.ttl_ms} ms" if operator.ttl_ms is not None else ""
    return f"{operator.form.value} aggregate by {by}{window}{ttl}"


def comment(text: str) -> str:
    """A name of the user's, harmless in a comment or docstring."""
    return "".join(character if character.isalnum() or character in "_-." else "?" for character in text)

"""Rows of constants: their values at compile time, and the JSON objects that a sink would write for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql.codegen.expressions import ExpressionWriter, Names, Variable
from headrace.sql.codegen.sinks import SinkCode

_encode = msgspec.json.Encoder(decimal_format="number").encode


def evaluate(expression: e.Expr) -> Any:
    """The value of an expression without columns, by the code that queries run. RecordError where it has none."""
    names = Names()
    code = ExpressionWriter(names, {}, [0]).value(expression)
    return eval(code, names.bound)  # the text is ours: no text of the user is in it


class RowEncoder:
    """Writes rows as the records of one query's sink have them, key columns included."""

    def __init__(self, query: p.Query) -> None:
        names = Names()
        sink = SinkCode(query, 0, names)
        columns = {column.name: Variable(f"row[{i}]", True) for i, column in enumerate(query.node.columns)}
        self._value = eval(f"lambda row: {sink.value(columns)}", names.bound)  # as above

    def encode(self, row: Sequence[Any]) -> bytes:
        """A JSON object of values as they are in memory, one for each column of the query."""
        return _encode(self._value(row))

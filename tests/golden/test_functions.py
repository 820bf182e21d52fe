"""Every function as its registry describes it: the examples of scalar functions, a table of aggregates' results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.golden.goldens import LAYOUTS, Layout

from headrace import App
from headrace.sql.functions import aggregates, scalars
from headrace.sql.functions.accumulators import AggregateFunction
from headrace.sql.functions.registry import Rewritten, ScalarFunction
from headrace.sql.runtime import aggregates as runtime

SOURCE = "CREATE STREAM t (x INT);\n"
SPECIAL_FORM = re.compile(r"\b(FROM|IN)\b")
"""Calls that are written in a form of their own are parsed under the function's own name only."""

VALUES = (3, None, 1, 3, -2)
AGGREGATES: dict[str, dict[str, tuple[Any, Any]]] = {
    "INT": {
        "COUNT(x)": (4, 0),
        "COUNT(*)": (5, 2),
        "COUNT(DISTINCT x)": (3, 0),
        "COUNT_DISTINCT(x)": (3, 0),
        "SUM(x)": (5, None),
        "AVG(x)": (1.25, None),
        "MIN(x)": (-2, None),
        "MAX(x)": (3, None),
        "MAX(DISTINCT x)": (3, None),
        "FIRST_VALUE(x)": (3, None),
        "LAST_VALUE(x)": (-2, None),
        "SUM(DISTINCT x)": (2, None),
        "AVG(DISTINCT x)": (round(2 / 3, 12), None),
        "VAR_SAMP(x)": (round(67 / 12, 12), None),
        "MEDIAN(x)": (2.0, None),
        "APPROX_COUNT_DISTINCT(x)": (3, 0),
    },
    "DOUBLE": {
        "SUM(x)": (5.0, None),
        "AVG(x)": (1.25, None),
        "MAX(x)": (3.0, None),
        "COUNT(DISTINCT x)": (3, 0),
        "SUM(DISTINCT x)": (2.0, None),
        "VAR_POP(x)": (4.1875, None),
        "PERCENTILE_DISC(x, 0.5)": (1.0, None),
    },
    "DECIMAL(6, 2)": {
        "SUM(x)": (Decimal("5.00"), None),
        "AVG(x)": (Decimal("1.250000"), None),
        "MIN(x)": (Decimal("-2.00"), None),
        "LAST_VALUE(x)": (Decimal("-2.00"), None),
        "SUM(DISTINCT x)": (Decimal("2.00"), None),
        "AVG(DISTINCT x)": (Decimal("0.666667"), None),
        "VAR_POP(x)": (4.1875, None),
        "PERCENTILE_CONT(x, 0.5)": (2.0, None),
        "PERCENTILE_DISC(x, 0.5)": (Decimal("1.00"), None),
        "COUNT(DISTINCT x)": (3, 0),
    },
}
"""Type of x → call → its result over VALUES, and over nothing but NULL."""


EVERY: tuple[ScalarFunction | Rewritten, ...] = (
    *scalars.FUNCTIONS,
    *(function for family in scalars.REWRITTEN_FAMILIES.values() for function in family),
)


@pytest.mark.parametrize("layout", LAYOUTS[:2], ids=str)
@pytest.mark.parametrize("function", EVERY, ids=lambda function: function.name)
def test_scalar_examples_give_their_results(function: ScalarFunction | Rewritten, layout: Layout) -> None:
    assert function.examples, f"{function.name} has no example"
    for call, literal in function.examples:
        assert _row(f"{call} AS a", layout)["a"] == _row(f"{literal} AS a", layout)["a"], call


@pytest.mark.parametrize("function", EVERY, ids=lambda function: function.name)
def test_scalar_result_type_is_that_of_its_example(function: ScalarFunction | Rewritten) -> None:
    for call, literal in function.examples:
        types = App(f"{SOURCE}SELECT {call} AS a, {literal} AS b FROM t;").logical.queries[0].node.columns
        assert types[0].type.kind in (types[1].type.kind, "BIGINT"), call


def test_names_of_scalars_are_unique() -> None:
    names = [name for function in EVERY for name in (function.name, *function.aliases)]
    assert len(set(names)) == len(names)


ALIASES = [(function, alias) for function in EVERY for alias in function.aliases]


@pytest.mark.parametrize(("function", "alias"), ALIASES, ids=[alias for _, alias in ALIASES])
def test_scalar_alias_is_the_function_itself(function: ScalarFunction | Rewritten, alias: str) -> None:
    plain = [example for example in function.examples if not SPECIAL_FORM.search(example[0])]
    assert plain
    for call, literal in plain:
        renamed = re.sub(r"^\w+", alias.lower(), call)
        assert _row(f"{renamed} AS a", LAYOUTS[0]) == _row(f"{literal} AS a", LAYOUTS[0])


NULLS = {
    **dict.fromkeys(("any", "ordered", "number", "integer"), "CAST(NULL AS INT)"),
    "decimal": "CAST(NULL AS DECIMAL(6, 2))",
    "array": "CAST(NULL AS ARRAY<VARCHAR>)",
    "map": "CAST(NULL AS MAP<VARCHAR, INT>)",
}
"""NULL of a type that an operand must have."""


@pytest.mark.parametrize("function", scalars.FUNCTIONS, ids=lambda function: function.name)
def test_scalar_of_null_is_null(function: ScalarFunction) -> None:
    strict = [each for each in function.signatures if each.parameters and not each.sees_null]
    for signature in strict:
        operands = [NULLS.get(str(kind), "NULL") for kind in signature.parameters]
        operands = [
            operands[0] if kind == "same" else o for kind, o in zip(signature.parameters, operands, strict=True)
        ]
        assert _row(f"{function.name}({', '.join(operands)}) AS a", LAYOUTS[0]) == {"a": None}


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("type_", AGGREGATES)
def test_aggregates_give_their_results(type_: str, layout: Layout) -> None:
    calls = AGGREGATES[type_]
    expected = [list(column) for column in zip(*calls.values(), strict=True)]
    found = _aggregated(f"x {type_}", list(calls), VALUES, layout)
    assert [round(v, 12) if isinstance(v, float) else v for v in found] == expected[0]
    assert _aggregated(f"x {type_}", list(calls), (None, None), layout) == expected[1]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("function", aggregates.FUNCTIONS, ids=lambda function: function.name)
def test_aggregate_examples_give_their_results(function: AggregateFunction, layout: Layout) -> None:
    assert function.examples, f"{function.name} has no example"
    for example in function.examples:
        (found,) = _aggregated(example.columns, [example.call], example.rows, layout)
        assert found == _about(example.result), example.call


@pytest.mark.parametrize("function", aggregates.FUNCTIONS, ids=lambda function: function.name)
def test_aggregate_has_its_result_under_every_name(function: AggregateFunction) -> None:
    for alias in (function.name, *function.aliases):
        for example in function.examples[:1]:
            call = re.sub(r"^\w+", alias.lower(), example.call)
            (found,) = _aggregated(example.columns, [call], example.rows, LAYOUTS[2])
            assert found == _about(example.result)


@pytest.mark.parametrize("function", aggregates.FUNCTIONS, ids=lambda function: function.name)
def test_aggregate_with_a_filter_is_that_of_the_rows_that_pass(function: AggregateFunction) -> None:
    for example in function.examples:
        rows = [row if isinstance(row, tuple) else (row,) for row in example.rows]
        more = [(*row, f) for row in rows for f in (True, False, None)]
        columns = f"{example.columns}, f BOOLEAN"
        (found,) = _aggregated(columns, [f"{example.call} FILTER (WHERE f)"], more, LAYOUTS[2])
        assert found == _about(example.result), example.call


@pytest.mark.parametrize("function", aggregates.FUNCTIONS, ids=lambda function: function.name)
def test_aggregate_over_nothing_is_null_or_zero(function: AggregateFunction) -> None:
    for example in function.examples:
        (found,) = _aggregated(example.columns, [f"{example.call} FILTER (WHERE FALSE)"], example.rows, LAYOUTS[2])
        assert found in (None, 0)


def _about(result: Any) -> Any:
    return pytest.approx(result) if isinstance(result, float) else result


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_group_with_too_many_elements_is_an_error_until_the_end(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = ("COLLECT_LIST(x)", "COLLECT_SET(x)", "LISTAGG(s)", "HISTOGRAM(s)", "MAP_AGG(s, x)", "MEDIAN(x)")
    rows = [{"k": k, "x": x, "s": str(x)} for x in range(8) for k in ("few", "many") if k == "many" or x < 5]
    monkeypatch.setattr(runtime, "ELEMENTS_MAX", 5)
    for call in calls:
        sql = f"CREATE STREAM t (k VARCHAR, x INT, s VARCHAR); SELECT k, {call} AS c FROM t GROUP BY k EMIT FINAL;"
        result = App(sql).local(inputs={"t": rows}, mode=layout.mode, parallelism=layout.parallelism, partitions=2)
        assert [record.value["k"] for record in result.records if record.value] == ["few"], call
        (letter,) = result.dead_letters
        assert letter.kind == "too_large", call


def _row(items: str, layout: Layout) -> dict[str, Any]:
    result = App(f"{SOURCE}SELECT {items} FROM t;").local(inputs={"t": [{"x": 1}]}, mode=layout.mode)
    assert not result.dead_letters
    (record,) = result.records
    return _exact(record.raw_value)


def _aggregated(columns: str, calls: Sequence[str], rows: Sequence[Any], layout: Layout) -> list[Any]:
    """Results over rows in two source partitions by turns, ordered by their time; a row of one column is its value."""
    items = ", ".join(f"{call} AS c{number}" for number, call in enumerate(calls))
    app = App(f"CREATE STREAM t ({columns});\nCREATE TABLE r AS SELECT {items} FROM t EMIT FINAL;")
    names = [column.split()[0] for column in re.split(r", (?=[a-z] )", columns)]
    records = [
        {
            "topic": "t",
            "value": dict(zip(names, row if isinstance(row, tuple) else (row,), strict=True)),
            "timestamp": time,
            "partition": time % 2,
        }
        for time, row in enumerate(rows)
    ]
    result = app.local(records=records, mode=layout.mode, partitions=2, parallelism=layout.parallelism)
    assert not result.dead_letters
    (record,) = result.records
    return list(_exact(record.raw_value, columns.removeprefix("x ")).values())


def _exact(value: bytes | None, type_: str = "") -> dict[str, Any]:
    """A row whose numbers with a point are Decimals where it matters to see their scale."""
    assert value is not None
    row: dict[str, Any] = msgspec.json.decode(value, type=dict[str, Any])
    if type_.startswith("DECIMAL"):
        raws = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        for name, raw in raws.items():
            if b"." in bytes(raw):
                row[name] = Decimal(bytes(raw).decode())
    return row

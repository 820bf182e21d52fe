"""Functions that users write in Python: from type hints to SQL signatures, and from rows to calls and back."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import ModuleType
from typing import Annotated, Any

import pytest

import headrace
from headrace import App, SqlError, UdfError, udf
from headrace.app.local import LocalResult
from headrace.sql.errors import RecordError
from headrace.sql.functions import user_values
from headrace.sql.functions.user import own_functions
from headrace.sql.operations import show_signature
from headrace.sql.types import (
    BIGINT,
    BOOLEAN,
    BYTES,
    DATE,
    DOUBLE,
    INT,
    JSON,
    TIME,
    TIMESTAMP,
    TIMESTAMP_LTZ,
    VARCHAR,
    Type,
    array_type,
    decimal_type,
    map_type,
)

SOURCE = "CREATE STREAM s (k VARCHAR, n BIGINT, x DOUBLE, t TIMESTAMP, WATERMARK FOR t);\n"
MODES = pytest.mark.parametrize("mode", ["single", "partitioned"])


def signature(function: Callable[..., Any]) -> str:
    """The signature and the type of the result, as SQL says it."""
    (declared,) = (f for f in own_functions([function]).scalars.values() if f.name == "F")
    (written,) = declared.signatures
    return f"{show_signature('F', written)}: {written.returns}"


def run(query: str, *udfs: object, rows: list[dict[str, Any]], mode: str = "partitioned") -> LocalResult:
    given = [{"t": 0, **row} for row in rows]
    return App(SOURCE + query, udfs=udfs).local({"s": given}, mode=mode, partitions=1)


def values(result: LocalResult) -> list[dict[str, Any] | None]:
    return [record.value for record in result.records]


def causes(result: LocalResult) -> list[tuple[str, str]]:
    return [(letter.kind, letter.message) for letter in result.dead_letters]


# From hints to signatures


def test_hints_are_the_signature() -> None:
    @udf
    def f(a: bool, b: int, c: float, d: str, e: bytes, g: date, h: time, i: datetime) -> str:
        return ""

    assert signature(f) == "F(BOOLEAN, BIGINT, DOUBLE, VARCHAR, BYTES, DATE, TIME, TIMESTAMP): VARCHAR"


def test_nested_hints_are_arrays_and_maps() -> None:
    @udf
    def f(a: list[int | None], b: dict[str, list[float]]) -> list[dict[str, str]]:
        return []

    assert signature(f) == "F(ARRAY<BIGINT>, MAP<VARCHAR, ARRAY<DOUBLE>>): ARRAY<MAP<VARCHAR, VARCHAR>>"


def test_annotated_hint_names_an_sql_type() -> None:
    @udf
    def f(
        a: Annotated[Decimal, "DECIMAL(10, 2)"], b: Annotated[int, "INT"] | None
    ) -> Annotated[Decimal | None, "DECIMAL(4)"]:
        return a

    assert signature(f) == "F(DECIMAL(10, 2), INT): DECIMAL(4, 0)"


def test_decorator_names_sql_types_for_functions_without_hints() -> None:
    @udf(name="f", parameters=("INT", "DECIMAL(5, 1)"), returns="DOUBLE")
    def anything(a, b):  # type: ignore[no-untyped-def]
        return a * b

    assert signature(anything) == "F(INT, DECIMAL(5, 1)): DOUBLE"


def test_lambda_with_a_name_is_a_function() -> None:
    assert signature(udf(name="f", parameters=("INT",), returns="INT")(lambda a: a)) == "F(INT): INT"


def test_operands_with_defaults_may_be_left_out() -> None:
    @udf
    def f(a: int, b: int = 2, *more: int) -> int:
        return a + b + sum(more)

    assert signature(f) == "F(BIGINT, [BIGINT], [BIGINT], …): BIGINT"
    result = run("SELECT F(n) AS a, F(n, 5) AS b, F(n, 5, 6, 7) AS c FROM s", f, rows=[{"n": 1}])
    assert values(result) == [{"a": 3, "b": 6, "c": 19}]


def test_decorated_function_stays_a_python_function() -> None:
    @udf
    def f(a: int) -> int:
        """Docs."""
        return a + 1

    assert f(1) == 2
    assert f.__name__ == "f"
    assert own_functions([f]).scalars["F"].doc == "Docs."


def untyped(a):  # type: ignore[no-untyped-def]
    return a


def typed(a: int) -> int:
    return a


def no_result(a: int):  # type: ignore[no-untyped-def]
    return a


def decimal(a: Decimal) -> int:
    return 1


def complex_result(a: int) -> complex:
    return a


def two_types(a: int | str) -> int:
    return 1


def named_only(a: int, *, b: int) -> int:
    return a


def any_named(**more: int) -> int:
    return 1


def not_a_type(a: Annotated[int, "NOTHING"]) -> int:
    return a


def wrong_class(a: Annotated[int, "VARCHAR"]) -> int:
    return a


def struct(a: Annotated[object, "STRUCT<b INT>"]) -> int:
    return 1


def unknown_hint(a: Nowhere) -> int:  # type: ignore[name-defined]  # noqa: F821
    return 1


def upper(a: str) -> str:
    return a


async def later(a: int) -> int:
    return a


def several(a: int) -> list[int]:  # type: ignore[misc]
    yield a


KNOWN = (
    "bool, int, float, str, bytes, date, time, datetime, list[…] and dict[str, …] are known; "
    'Annotated[…, "…"] gives any other type its SQL name'
)

PRECISION = 'write Annotated[Decimal, "DECIMAL(10, 2)"], with the digits in all and those after the point'


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (lambda: udf(untyped), "UNTYPED: parameter `a` has no type hint"),
        (lambda: udf(no_result), "NO_RESULT: the result has no type hint"),
        (
            lambda: udf(decimal),
            f"DECIMAL: parameter `a` is a Decimal of no precision: {PRECISION}",
        ),
        (lambda: udf(complex_result), f"COMPLEX_RESULT: the result is complex, which is no type of SQL; {KNOWN}"),
        (lambda: udf(two_types), f"TWO_TYPES: parameter `a` is int | str, which is no type of SQL; {KNOWN}"),
        (
            lambda: udf(named_only),
            "NAMED_ONLY: parameter `b` has to be named, and SQL gives operands by position",
        ),
        (lambda: udf(any_named), "ANY_NAMED: parameter `more` has to be named, and SQL gives operands by position"),
        (lambda: udf(not_a_type), "NOT_A_TYPE: the type of parameter `a`: expected a type, found `NOTHING`"),
        (
            lambda: udf(wrong_class),
            "WRONG_CLASS: parameter `a` is VARCHAR, which is str in Python, and its hint says int",
        ),
        (lambda: udf(name="f")(struct), "F: parameter `a` is STRUCT<b INT>, which cannot be given to Python"),
        (lambda: udf(unknown_hint), "UNKNOWN_HINT: its type hints cannot be read: name 'Nowhere' is not defined"),
        (
            lambda: udf(parameters=("INT", "INT"))(typed),
            "TYPED: `parameters` has 2 types, the function 1 parameters",
        ),
        (
            lambda: udf(returns="INT) WITH (topic = 'x'")(typed),
            "TYPED: the type of the result: `INT) WITH (topic = 'x'` is not a type alone",
        ),
        (
            lambda: udf(upper),
            "UPPER is a function of Headrace's own: give it another name, @headrace.udf(name=…)",
        ),
        (
            lambda: udf(name="lag")(typed),
            "LAG is a function of Headrace's own: give it another name, @headrace.udf(name=…)",
        ),
        (
            lambda: udf(name="hop_start")(typed),
            "HOP_START is a function of Headrace's own: give it another name, @headrace.udf(name=…)",
        ),
        (
            lambda: udf(name="transform")(typed),
            "TRANSFORM is a function of Headrace's own: give it another name, @headrace.udf(name=…)",
        ),
        (
            lambda: udf(name="select")(typed),
            "a function cannot be called 'select' in SQL: give it another name, @headrace.udf(name=…)",
        ),
        (
            lambda: udf(name="cast")(typed),
            "a function cannot be called 'cast' in SQL: give it another name, @headrace.udf(name=…)",
        ),
        (
            lambda: udf(name="a b")(typed),
            "a function cannot be called 'a b' in SQL: give it another name, @headrace.udf(name=…)",
        ),
        (
            lambda: udf(lambda a: a),
            "a function cannot be called '<lambda>' in SQL: give it another name, @headrace.udf(name=…)",
        ),
        (lambda: udf(later), "LATER: an async function or a generator does not give one value for a row"),
        (lambda: udf(several), "SEVERAL: an async function or a generator does not give one value for a row"),
        (lambda: udf(int), "@headrace.udf stands before a function, not type"),
        (lambda: App(SOURCE, udfs=[typed]), "typed is not decorated with @headrace.udf or @headrace.udaf"),
        (lambda: App(SOURCE, udfs=[3]), "3 is not decorated with @headrace.udf or @headrace.udaf"),
        (
            lambda: App(SOURCE, udfs=[ModuleType("empty")]),
            "empty has nothing decorated with @headrace.udf or @headrace.udaf",
        ),
        (
            lambda: udf(name="f")(lambda: 1),
            "F: the result has no type hint",
        ),
    ],
)
def test_what_cannot_be_a_function_is_refused_with_the_reason(decorate: Callable[[], object], message: str) -> None:
    with pytest.raises(UdfError) as caught:
        decorate()
    assert str(caught.value) == message


def test_two_functions_of_one_name_are_refused() -> None:
    def make() -> Callable[[int], int]:
        @udf
        def f(a: int) -> int:
            return a

        return f

    first = make()
    assert "F" in own_functions([first, first]).scalars
    with pytest.raises(UdfError, match=r"^F: two functions have this name$"):
        own_functions([first, make()])


# In queries


@udf
def shout(text: str) -> str:
    return text.upper() + "!"


@udf
def label(text: str | None, number: int) -> str:
    return f"{text} {number}"


@udf
def half(number: int) -> int | None:
    return number // 2 if number % 2 == 0 else None


@udf
def inverse(number: int) -> float:
    return 1 / number


@udf
def is_late(at: datetime) -> bool:
    return at >= datetime(2026, 1, 1)  # noqa: DTZ001


@MODES
def test_function_is_called_wherever_an_expression_stands(mode: str) -> None:
    query = """
    CREATE TABLE r AS SELECT SHOUT(k) AS loud, SUM(HALF(n)) AS halves, shout(MAX(k)) AS last FROM s
    WHERE NOT IS_LATE(t) GROUP BY SHOUT(k) HAVING SHOUT(MIN(k)) <> 'C!' EMIT FINAL;
    """
    rows = [{"k": k, "n": n} for k, n in (("a", 4), ("b", 6), ("a", 5), ("c", 2))]
    rows.append({"k": "a", "n": 100, "t": 1_900_000_000_000})
    result = run(query, shout, half, is_late, rows=rows, mode=mode)
    assert result.final("r") == {
        "A!": {"loud": "A!", "halves": 2, "last": "A!"},
        "B!": {"loud": "B!", "halves": 3, "last": "B!"},
    }


@MODES
def test_exception_is_a_record_error_that_names_the_function(mode: str) -> None:
    result = run("SELECT INVERSE(n) AS i FROM s", inverse, rows=[{"n": 0}, {"n": 4}], mode=mode)
    assert values(result) == [{"i": 0.25}]
    assert causes(result) == [("udf", "INVERSE: ZeroDivisionError: division by zero")]


@MODES
def test_exception_over_an_aggregate_rejects_the_result_row(mode: str) -> None:
    query = "CREATE TABLE r AS SELECT k, INVERSE(SUM(n)) AS i FROM s GROUP BY k EMIT FINAL"
    rows = [{"k": "a", "n": 1}, {"k": "a", "n": -1}, {"k": "b", "n": 2}]
    result = run(query, inverse, rows=rows, mode=mode)
    assert result.final("r") == {"b": {"k": "b", "i": 0.5}}
    assert causes(result) == [("udf", "INVERSE: ZeroDivisionError: division by zero")]


def test_exception_without_text_or_with_too_much_of_it_is_told() -> None:
    def fail(message: str) -> str:
        raise ValueError(message)

    functions = [udf(name="fail")(fail)]
    result = run("SELECT FAIL(k) AS a FROM s", *functions, rows=[{"k": ""}, {"k": "x" * 5_000}])
    assert causes(result) == [("udf", "FAIL: ValueError"), ("udf", "FAIL: ValueError: " + "x" * 982)]


def test_exception_whose_text_cannot_be_made_is_told_by_its_class() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise self

    @udf
    def fail(k: str) -> str:
        raise MuteError

    result = run("SELECT FAIL(k) AS a FROM s", fail, rows=[{"k": "a"}])
    assert causes(result) == [("udf", "FAIL: MuteError")]


def test_interrupt_is_not_taken_for_an_error_of_the_record() -> None:
    @udf
    def stop(n: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("SELECT STOP(n) AS a FROM s", stop, rows=[{"n": 1}])


@MODES
def test_nested_and_binary_values_go_in_and_out(mode: str) -> None:
    @udf
    def turned(a: list[int], m: dict[str, list[str]], b: bytes, j: Annotated[str, "JSON"]) -> dict[str, list[str]]:
        assert a == [1, None, 3]
        assert (b, j) == (b"\xff", '{"x":[1]}')
        m["more"] = [str(item) for item in reversed(a)]
        return m

    sql = """
    CREATE STREAM s (a ARRAY<BIGINT>, m MAP<VARCHAR, ARRAY<VARCHAR>>, b BYTES, j JSON);
    SELECT TURNED(a, m, b, j) AS t, m FROM s;
    """
    row = {"a": [1, None, 3], "m": {"k": ["v", None]}, "b": "/w==", "j": {"x": [1]}}
    result = App(sql, udfs=[turned]).local({"s": [row]}, mode=mode)
    assert causes(result) == []
    assert values(result) == [{"t": {"k": ["v", None], "more": ["3", "None", "1"]}, "m": {"k": ["v", None]}}]


@pytest.mark.parametrize(
    ("expression", "results"),
    [
        ("drawn(n) BETWEEN 4 AND 5", [True, False]),
        ("drawn(n) NOT BETWEEN 4 AND 5", [False, True]),
        ("drawn(n) IN (4, 6)", [True, True]),
        ("drawn(n) NOT IN (4, NULL)", [False, None]),
        ("drawn(n) IN (n, n + 1, 4)", [True, False]),
        ("CASE drawn(n) WHEN 5 THEN 'five' WHEN 4 THEN 'four' WHEN 6 THEN 'six' END", ["four", "six"]),
        ("NULLIF(drawn(n), 4)", [None, 6]),
        ("drawn(n) > 4 AND n IS NOT NULL", [False, True]),
        ("drawn(n) < 5 OR n < 0", [True, False]),
        ("NOT (drawn(n) > 4)", [True, False]),
        ("CASE WHEN drawn(n) BETWEEN 4 AND 4 THEN 1 ELSE 2 END", [1, 2]),
        ("TRANSFORM(ARRAY[n, n], x => CASE drawn(x) WHEN 5 THEN 1 WHEN 4 THEN 2 ELSE 3 END)", [[2, 1], [3, 3]]),
    ],
)
def test_operand_that_counts_in_several_places_is_computed_once(expression: str, results: list[Any]) -> None:
    """Each call gives another value, so that two calls for one row would not fit together."""
    calls: list[int] = []

    @udf
    def drawn(n: int) -> int:
        calls.append(n)
        return 3 + len(calls) if "ARRAY" in expression else 2 + 2 * len(calls)

    made = run(f"SELECT {expression} AS result FROM s;", drawn, rows=[{"n": 1}, {"n": 2}])
    assert [value["result"] for value in values(made) if value] == results
    assert len(calls) == (4 if "ARRAY" in expression else 2)


def test_right_side_of_a_condition_is_computed_only_where_it_counts() -> None:
    @udf
    def refuse(n: int) -> bool:
        raise ValueError(n)

    rows = [{"n": 1}, {"n": None}]
    made = run("SELECT n > 1 AND refuse(n) AS a, n = 1 OR refuse(n) AS o FROM s;", refuse, rows=rows)
    assert values(made) == [{"a": False, "o": True}, {"a": None, "o": None}]


def test_null_makes_null_without_a_call_unless_the_hint_takes_it() -> None:
    rows: list[dict[str, Any]] = [{"k": None, "n": 1}, {"k": "a", "n": None}, {"k": None, "n": None}]
    result = run("SELECT SHOUT(k) AS a, LABEL(k, n) AS b FROM s", shout, label, rows=rows)
    assert values(result) == [{"a": None, "b": "None 1"}, {"a": "A!", "b": None}, {"a": None, "b": None}]


def test_null_constant_is_an_operand_of_any_type() -> None:
    query = "SELECT SHOUT(NULL) AS a, LABEL(NULL, 1) AS b FROM s"
    assert values(run(query, shout, label, rows=[{}])) == [{"a": None, "b": "None 1"}]


def test_only_an_optional_result_may_be_null() -> None:
    @udf
    def nothing(n: int) -> int:
        return None  # type: ignore[return-value]

    result = run("SELECT HALF(n) AS a FROM s; SELECT NOTHING(n) AS a FROM s", half, nothing, rows=[{"n": 1}, {"n": 2}])
    assert values(result) == [{"a": None}, {"a": 1}]
    message = "NOTHING: returned None, and the hint of its result does not say `| None`"
    assert causes(result) == [("udf", message)] * 2


def test_strict_function_over_not_null_columns_gives_a_not_null_column() -> None:
    app = App(
        "CREATE STREAM s (a BIGINT NOT NULL, k VARCHAR); SELECT INVERSE(a) AS x, SHOUT(k) AS y FROM s",
        udfs=[inverse, shout],
    )
    assert [column.nullable for column in app.logical.queries[0].node.columns] == [False, True]
    assert "x = udf_inverse(a)" in app.explain("code")


def test_operand_of_another_number_type_is_converted() -> None:
    @udf
    def shown(x: float, d: Annotated[Decimal, "DECIMAL(6, 2)"], n: int) -> str:
        return repr((x, d, n))

    result = run("SELECT SHOWN(n, n, 1) AS a, SHOWN(1.5, 1.5, n) AS b FROM s", shown, rows=[{"n": 7}, {"n": 10_000}])
    assert values(result) == [{"a": "(7.0, Decimal('7.00'), 1)", "b": "(1.5, Decimal('1.50'), 7)"}]
    assert causes(result) == [("overflow", "value out of range of DECIMAL(6, 2)")]


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        ("SHOUT(n)", "SHOUT(BIGINT) does not exist", "it is SHOUT(VARCHAR)"),
        ("SHOUT()", "SHOUT() does not exist", "it is SHOUT(VARCHAR)"),
        ("SHOWT(k)", "function SHOWT does not exist, or is not supported yet", "did you mean `SHOUT`?"),
        ("SHOUT(DISTINCT k)", "SHOUT takes neither DISTINCT nor *", None),
        ("SHOUT(k) OVER (ORDER BY t)", "SHOUT cannot stand before OVER", "did you mean `COUNT`?"),
    ],
)
def test_wrong_call_is_refused_with_the_signature(call: str, message: str, hint: str | None) -> None:
    with pytest.raises(SqlError) as caught:
        App(f"{SOURCE}SELECT {call} AS a FROM s", udfs=[shout])
    (problem,) = caught.value.problems
    assert (problem.message, problem.hint) == (message, hint)


def test_functions_belong_to_one_app() -> None:
    query = f"{SOURCE}SELECT SHOUT(k) AS a FROM s"
    App(query, udfs=[shout])
    with pytest.raises(SqlError):
        App(query)


def test_column_may_be_called_as_the_code_calls_the_function() -> None:
    query = "CREATE STREAM z AS SELECT k AS udf_shout FROM s; SELECT SHOUT(udf_shout) AS shout FROM z"
    result = run(query, shout, rows=[{"k": "a"}])
    assert values(result) == [{"udf_shout": "a"}, {"shout": "A!"}]


def test_module_gives_all_of_its_functions() -> None:
    module = ModuleType("functions")
    vars(module).update(shout=shout, half=half, typed=typed, other=3)
    assert {"SHOUT", "HALF"} < own_functions([module]).scalars.keys()
    assert "TYPED" not in own_functions([module]).scalars


# Values at the border


class Color(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


BORDER: list[tuple[Type, Any, Any]] = [
    (BOOLEAN, True, True),
    (BIGINT, 2**63 - 1, 2**63 - 1),
    (DOUBLE, 1.5, 1.5),
    (decimal_type(10, 2), Decimal("1.50"), Decimal("1.50")),
    (VARCHAR, "ä", "ä"),
    (BYTES, b"\x00", b"\x00"),
    (JSON, '{"a": 1}', '{"a": 1}'),
    (DATE, -1, date(1969, 12, 31)),
    (TIME, 3_723_004, time(1, 2, 3, 4_000)),
    (TIMESTAMP, -1, datetime(1969, 12, 31, 23, 59, 59, 999_000)),  # noqa: DTZ001
    (TIMESTAMP_LTZ, 86_400_000, datetime(1970, 1, 2, tzinfo=UTC)),
    (array_type(DATE), (0, None), [date(1970, 1, 1), None]),
    (map_type(array_type(BIGINT)), {"a": (1, 2), "b": None}, {"a": [1, 2], "b": None}),
]


@pytest.mark.parametrize(("type_", "memory", "python"), BORDER, ids=lambda value: str(value)[:30])
def test_value_is_the_same_after_both_ways(type_: Type, memory: Any, python: Any) -> None:
    convert = user_values.to_python(type_)
    given = memory if convert is None else convert(memory)
    assert given == python
    assert type(given) is user_values.PYTHON_CLASSES[type_.kind]
    assert user_values.from_python(type_)(python) == memory


@pytest.mark.parametrize(
    ("type_", "python", "memory"),
    [
        (BIGINT, Color.RED, 1),
        (DOUBLE, 3, 3.0),
        (VARCHAR, Text("a"), "a"),
        (decimal_type(4, 1), 3, Decimal("3.0")),
        (decimal_type(4, 1), Decimal("1.25"), Decimal("1.3")),
        (TIMESTAMP, datetime(1970, 1, 1, 1, tzinfo=UTC), 3_600_000),
        (array_type(BIGINT), (1, 2), (1, 2)),
    ],
    ids=str,
)
def test_near_value_is_taken_as_one_of_the_type(type_: Type, python: Any, memory: Any) -> None:
    taken = user_values.from_python(type_)(python)
    assert taken == memory
    assert type(taken) is type(memory)


@pytest.mark.parametrize(
    ("type_", "python", "message"),
    [
        (BOOLEAN, 1, "returned int, expected bool (BOOLEAN)"),
        (BIGINT, True, "returned bool, expected int (BIGINT)"),
        (BIGINT, 1.0, "returned float, expected int (BIGINT)"),
        (BIGINT, 2**63, "value out of range of BIGINT"),
        (INT, 2**31, "value out of range of INT"),
        (DOUBLE, "1", "returned str, expected float (DOUBLE)"),
        (DOUBLE, float("nan"), "returned nan, which is no number of SQL's"),
        (DOUBLE, 10**400, "value out of range of DOUBLE"),
        (decimal_type(4, 1), 1.5, "returned float, expected Decimal (DECIMAL(4, 1))"),
        (decimal_type(4, 1), Decimal("NaN"), "returned NaN, which is no number of SQL's"),
        (decimal_type(4, 1), Decimal(1000), "value out of range of DECIMAL(4, 1)"),
        (VARCHAR, b"a", "returned bytes, expected str (VARCHAR)"),
        (VARCHAR, "\ud800", "returned a text with half of a surrogate pair, which has no UTF-8 form"),
        (BYTES, "a", "returned str, expected bytes (BYTES)"),
        (DATE, datetime(1970, 1, 1), "returned datetime, expected date (DATE)"),  # noqa: DTZ001
        (TIME, 1, "returned int, expected time (TIME)"),
        (TIME, time(1, tzinfo=UTC), "returned a time with a zone, which TIME does not have"),
        (TIMESTAMP, date(1970, 1, 1), "returned date, expected datetime (TIMESTAMP)"),
        (array_type(BIGINT), [1, "a"], "returned str, expected int (BIGINT)"),
        (array_type(BIGINT), {1}, "returned set, expected list (ARRAY<BIGINT>)"),
        (map_type(BIGINT), {1: 1}, "returned int, expected str (VARCHAR)"),
    ],
    ids=str,
)
def test_wrong_value_is_a_record_error(type_: Type, python: Any, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        user_values.from_python(type_)(python)
    assert str(caught.value) == message


def test_wrong_json_is_a_record_error() -> None:
    with pytest.raises(RecordError, match=r"JSON"):
        user_values.from_python(JSON)("{")


def test_package_names_what_users_import() -> None:
    assert {name for name in headrace.__all__ if getattr(headrace, name) is not None} == set(headrace.__all__)

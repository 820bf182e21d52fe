"""Classes that users write as aggregate functions: their signatures, their states, what goes wrong in them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, ClassVar

import msgspec
import pytest

from headrace import App, SqlError, UdfError, udaf, udf
from headrace.app.local import LocalResult
from headrace.sql.errors import RecordError
from headrace.sql.functions.accumulators import Given
from headrace.sql.functions.user import own_functions
from headrace.sql.physical import Mode
from headrace.sql.types import BIGINT

SOURCE = "CREATE STREAM s (k VARCHAR, x BIGINT, y BIGINT, t TIMESTAMP, WATERMARK FOR t);\n"
LAYOUTS = pytest.mark.parametrize(
    "layout",
    [
        {"mode": "single", "partitions": 1},
        {"mode": "single", "partitions": 3},
        {"mode": "partitioned", "partitions": 3},
        {"mode": "partitioned", "partitions": 3, "parallelism": 1},
    ],
    ids=lambda layout: "-".join(map(str, layout.values())),
)


@udaf
class Span:
    """The largest value less the smallest one."""

    low: int | None = None
    high: int | None = None

    def update(self, x: int) -> None:
        if x == 13:
            raise ValueError("13 brings no luck")
        self.low = x if self.low is None else min(self.low, x)
        self.high = x if self.high is None else max(self.high, x)

    def merge(self, other: Span) -> None:
        for value in (other.low, other.high):
            if value is not None:
                self.update(value)

    def result(self) -> int | None:
        return None if self.low is None or self.high is None else self.high - self.low


@udaf
class Weighted:
    """A weighted mean, without `merge`."""

    total: int
    weight: int

    def __init__(self) -> None:
        self.total = self.weight = 0

    def update(self, x: int, weight: int = 1) -> None:
        self.total += x * weight
        self.weight += weight

    def result(self) -> float:
        return self.total / self.weight


@udaf(ordered=True)
class Path:
    """The values in the order of event time."""

    steps: list[str]

    def __init__(self) -> None:
        self.steps = []

    def update(self, x: int | None) -> None:
        self.steps.append("-" if x is None else str(x))

    def result(self) -> str:
        return " ".join(self.steps)


OWN = (Span, Weighted, Path)


def run(query: str, *rows: dict[str, Any], udfs: tuple[object, ...] = OWN, **layout: Any) -> LocalResult:
    given = [{"k": "a", "t": number * 1_000, **row} for number, row in enumerate(rows)]
    return App(SOURCE + query, udfs=udfs).local({"s": given}, **(layout or {"partitions": 1}))


def causes(result: LocalResult) -> list[tuple[str, str]]:
    return [(letter.kind, letter.message) for letter in result.dead_letters]


def xs(*values: int | None) -> list[dict[str, Any]]:
    return [{"x": value} for value in values]


# In queries


@LAYOUTS
@pytest.mark.parametrize("emit", ["EMIT FINAL", "EMIT CHANGES", "EMIT EVERY 1 SECOND"])
def test_aggregate_of_groups(layout: dict[str, Any], emit: str) -> None:
    query = (
        f"CREATE TABLE r AS SELECT k, SPAN(x) AS span, WEIGHTED(x, y) AS mean, COUNT(*) AS n FROM s GROUP BY k {emit}"
    )
    rows = [{"k": "ab"[number % 2], "x": number * number, "y": 1 + number % 3} for number in range(20)]
    expected = {}
    for k in "ab":
        own = [row for row in rows if row["k"] == k]
        mean = sum(row["x"] * row["y"] for row in own) / sum(row["y"] for row in own)
        expected[k] = {
            "k": k,
            "span": max(row["x"] for row in own) - min(row["x"] for row in own),
            "mean": mean,
            "n": 10,
        }
    result = run(query, *rows, **layout)
    assert causes(result) == []
    assert result.final("r") == expected


@LAYOUTS
@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("TUMBLE(t, INTERVAL '2' SECOND)", {0: 3, 2_000: 5, 4_000: 0}),
        (
            "HOP(t, INTERVAL '1' SECOND, INTERVAL '2' SECOND)",
            {-1_000: 0, 0: 3, 1_000: 5, 2_000: 5, 3_000: 3, 4_000: 0},
        ),
        ("SESSION(t, INTERVAL '1' SECOND)", {0: 0, 1_000: 0, 2_000: 0, 3_000: 0, 4_000: 0}),
        ("SESSION(t, INTERVAL '2' SECOND)", {0: 8}),
    ],
)
@pytest.mark.parametrize("emit", ["FINAL", "CHANGES"])
def test_aggregate_of_windows(layout: dict[str, Any], window: str, expected: dict[int, int], emit: str) -> None:
    query = f"CREATE TABLE r AS SELECT k, window_start, SPAN(x) AS span FROM s GROUP BY k, {window} EMIT {emit}"
    result = run(query, *xs(1, 4, 9, 4, 1), **layout)
    assert {key[1]: row["span"] for key, row in result.final("r").items()} == expected
    assert causes(result) == []


@LAYOUTS
def test_sessions_that_a_row_joins_are_merged(layout: dict[str, Any]) -> None:
    sql = SOURCE.replace("FOR t", "FOR t AS t - INTERVAL '1' HOUR")
    rows = [{"k": "a", "x": x, "t": t} for x, t in ((5, 0), (7, 4_000), (1, 2_000))]
    query = "CREATE TABLE r AS SELECT k, SPAN(x) AS span FROM s GROUP BY k, SESSION(t, INTERVAL '3' SECOND);"
    result = App(sql + query, udfs=OWN).local({"s": rows}, **layout)
    assert list(result.final("r").values()) == [{"k": "a", "span": 6}]


def test_aggregate_without_merge_is_refused_for_sessions_alone() -> None:
    with pytest.raises(SqlError) as caught:
        App(f"{SOURCE}SELECT k, WEIGHTED(x) AS w FROM s GROUP BY k, SESSION(t, INTERVAL '3' SECOND)", udfs=OWN)
    (problem,) = caught.value.problems
    assert problem.message == "WEIGHTED has no `merge`, which sessions need"
    assert problem.hint == "merge(self, other) in its class"


def test_aggregate_without_merge_is_no_partial_aggregate() -> None:
    query = "CREATE TABLE r AS SELECT k, {} AS a FROM s GROUP BY k EMIT FINAL"
    plans = [App(SOURCE + query.format(call), udfs=OWN).explain() for call in ("SPAN(x)", "WEIGHTED(x)", "PATH(x)")]
    assert ["Send partial aggregates" in plan for plan in plans] == [True, False, True]
    assert "SPAN keeps low int | None, high int | None" in plans[0]


@LAYOUTS
def test_ordered_aggregate_takes_rows_in_the_order_of_time(layout: dict[str, Any]) -> None:
    sql = SOURCE.replace("FOR t", "FOR t AS t - INTERVAL '1' HOUR")
    rows = [{"k": "a", "x": x, "t": t} for x, t in ((3, 3_000), (1, 1_000), (None, 2_000), (0, 0))]
    for emit in ("EMIT FINAL", "EMIT CHANGES", ", TUMBLE(t, INTERVAL '1' MINUTE)"):
        query = f"CREATE TABLE r AS SELECT k, PATH(x) AS path FROM s GROUP BY k {emit};"
        result = App(sql + query, udfs=OWN).local({"s": rows}, **layout)
        assert list(result.final("r").values()) == [{"k": "a", "path": "0 1 - 3"}]


@LAYOUTS
def test_aggregate_over_rows_so_far(layout: dict[str, Any]) -> None:
    query = """
    SELECT x, SPAN(x) OVER (PARTITION BY k ORDER BY t) AS span, PATH(x) OVER w AS path, SPAN(x) OVER w AS near FROM s
    WINDOW w AS (PARTITION BY k ORDER BY t ROWS 1 PRECEDING)
    """
    result = run(query, *xs(1, 4, None, 13, 2), **layout)
    assert sorted((record.value or {} for record in result.records), key=str) == sorted(
        (
            {"x": 1, "span": 0, "path": "1", "near": 0},
            {"x": 4, "span": 3, "path": "1 4", "near": 3},
            {"x": None, "span": 3, "path": "4 -", "near": 0},
            {"x": 2, "span": 3, "path": "- 2", "near": 0},
        ),
        key=str,
    )
    assert causes(result) == [("udf", "SPAN: ValueError: 13 brings no luck")]


def test_filter_keeps_rows_from_the_function() -> None:
    calls = "SPAN(x) FILTER (WHERE x <> 13) AS a, PATH(x) FILTER (WHERE y = 1) AS b"
    query = f"CREATE TABLE r AS SELECT k, {calls} FROM s GROUP BY k"
    result = run(query, {"x": 1, "y": 1}, {"x": 13, "y": 2}, {"x": None, "y": 1}, {"x": 3})
    assert causes(result) == []
    assert result.final("r") == {"a": {"k": "a", "a": 2, "b": "1 -"}}


# What goes wrong


@LAYOUTS
@pytest.mark.parametrize("emit", ["EMIT FINAL", "EMIT CHANGES", ", HOP(t, INTERVAL '1' HOUR, INTERVAL '2' HOUR)"])
def test_row_that_update_refuses_changes_no_state(layout: dict[str, Any], emit: str) -> None:
    query = f"CREATE TABLE r AS SELECT k, COUNT(*) AS n, SPAN(x) AS span FROM s GROUP BY k {emit}"
    result = run(query, *xs(13, 1, 13, 5), {"k": "b", "x": 13}, **layout)
    assert causes(result) == [("udf", "SPAN: ValueError: 13 brings no luck")] * 3
    assert {letter.topic for letter in result.dead_letters} == {"s"}
    assert {tuple(row.values()) for row in result.final("r").values()} == {("a", 2, 4)}


@LAYOUTS
def test_error_of_a_result_rejects_the_result_row(layout: dict[str, Any]) -> None:
    query = "CREATE TABLE r AS SELECT k, WEIGHTED(x, y) AS mean FROM s GROUP BY k EMIT FINAL"
    rows = [{"x": 1, "y": 1}, {"x": 1, "y": -1}, {"k": "b", "x": 4, "y": 2}]
    result = run(query, *rows, **layout)
    assert result.final("r") == {"b": {"k": "b", "mean": 4.0}}
    (letter,) = result.dead_letters
    assert (letter.kind, letter.message) == ("udf", "WEIGHTED: ZeroDivisionError: division by zero")
    assert (letter.topic, letter.value) == (None, b'{"k":"a"}')


@LAYOUTS
def test_error_that_comes_of_the_state_rejects_the_result_row(layout: dict[str, Any]) -> None:
    @udaf
    class Few:
        """At most two values."""

        values: list[int]

        def __init__(self) -> None:
            self.values = []

        def update(self, x: int) -> None:
            self.values.append(x)
            if len(self.values) > 2:
                raise OverflowError("too many")

        def merge(self, other: Few) -> None:
            for value in other.values:
                self.update(value)

        def result(self) -> int:
            return sum(self.values)

    query = "CREATE TABLE r AS SELECT k, COUNT(*) AS n, FEW(x) AS few FROM s GROUP BY k EMIT FINAL"
    result = run(query, *xs(1, 2, 3, 4), {"k": "b", "x": 5}, udfs=(Few,), **layout)
    assert result.final("r") == {"b": {"k": "b", "n": 1, "few": 5}}
    assert causes(result) == [("udf", "FEW: OverflowError: too many")]


class MuteError(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise self


@pytest.mark.parametrize("value", [13, 14, 15])
def test_exception_whose_text_cannot_be_made_is_told_by_its_class(value: int) -> None:
    @udaf
    class Mute:
        """Fails for a row, for its state, or at the end."""

        count: int = 0

        def update(self, x: int) -> None:
            self.count += x
            if x == 13 or self.count == 15:
                raise MuteError

        def result(self) -> int:
            if self.count == 16:
                raise MuteError
            return self.count

    query = "CREATE TABLE r AS SELECT k, MUTE(x) AS m FROM s GROUP BY k EMIT FINAL"
    assert causes(run(query, *xs(1, value), udfs=(Mute,))) == [("udf", "MUTE: MuteError")]


def test_state_that_fails_with_a_text_that_cannot_be_made_is_refused() -> None:
    class Mute:
        count: int

        def __init__(self) -> None:
            raise MuteError

        def update(self, x: int) -> None:
            self.count += x

        def result(self) -> int:
            return self.count

    with pytest.raises(UdfError, match="its empty state cannot be made: MuteError"):
        App(SOURCE + "SELECT k FROM s", udfs=[udaf(Mute)])


def test_state_over_nothing_gives_its_own_result() -> None:
    query = "CREATE TABLE r AS SELECT k, SPAN(x) AS span, PATH(y) AS path FROM s GROUP BY k"
    assert run(query, {"x": None}).final("r") == {"a": {"k": "a", "span": None, "path": "-"}}


def test_state_of_another_class_is_another_plan() -> None:
    def version(class_: type) -> str:
        app = App(f"{SOURCE}CREATE TABLE r AS SELECT k, F(x) AS f FROM s GROUP BY k", udfs=[udaf(name="f")(class_)])
        return app.stages(Mode.SINGLE)["r-0"].plan_version

    class Narrow:
        total: int = 0

        def update(self, x: int) -> None:
            self.total += x

        def result(self) -> int:
            return self.total

    class Wide(Narrow):
        total: float = 0.0  # type: ignore[assignment]

    class Same(Narrow):
        pass

    assert version(Narrow) == version(Same) != version(Wide)


@pytest.mark.parametrize(
    "call", ["SPAN(k)", "SPAN()", "SPAN(x, y)", "SPAN(*)", "SPAN(DISTINCT x)", "SPAN(x ORDER BY t)"]
)
def test_wrong_call_is_refused(call: str) -> None:
    with pytest.raises(SqlError, match="SPAN"):
        App(f"{SOURCE}SELECT {call} AS a FROM s", udfs=OWN)


# States


def state_of(class_: type) -> Any:
    """The class of states of a decorated class."""
    (signature, *_) = own_functions([class_]).aggregates[class_.__name__.upper()].signatures
    aggregation = signature.keep(Given((BIGINT,)))
    assert aggregation is not None
    return aggregation.accumulators[0].storage


def test_state_is_the_same_after_a_restart() -> None:
    @udaf
    @dataclass
    class Kept:
        total: int = 0
        last: date | None = None
        money: Decimal = Decimal("0.00")
        seen: set[str] = field(default_factory=set)
        counts: dict[str, list[int]] = field(default_factory=dict)
        limit: ClassVar[int] = 3

        def update(self, x: int) -> None:
            self.total += x
            self.last = date(2026, 1, 5)
            self.money += Decimal("0.10")
            self.seen.add("ä")
            self.counts.setdefault("k", []).append(1)

        def result(self) -> int:
            return 0

    class_ = state_of(Kept)
    state = class_()
    state.add(2**63)
    state.add(2**63)
    again = class_.restored(msgspec.msgpack.decode(msgspec.msgpack.encode(state.stored())))
    assert again.own == state.own
    assert again.own.total == 2**64
    assert sys.getsizeof(state) > 100


def test_state_that_cannot_be_stored_is_an_error_of_the_group() -> None:
    @udaf
    class Odd:
        total: int = 0

        def update(self, x: int) -> None:
            self.total = "many" if x == 1 else x  # type: ignore[assignment]
            if x == 2:
                self.other = 3

        def result(self) -> int:
            return self.total

    class_ = state_of(Odd)
    for x, told in (
        (1, "TypeError: attribute `total` is str, and its annotation says int"),
        (2, "AttributeError: attribute `other` has no annotation in the class"),
    ):
        state = class_()
        state.add(x)
        again = class_.restored(state.stored())
        with pytest.raises(RecordError, match=f"^ODD: {told}"):
            again.result()


def test_merge_leaves_the_other_state_as_it_is() -> None:
    @udaf
    class Listed:
        values: list[int]

        def __init__(self) -> None:
            self.values = []

        def update(self, x: int) -> None:
            self.values.append(x)

        def merge(self, other: Listed) -> None:
            self.values = self.values or other.values

        def result(self) -> int:
            return len(self.values)

    class_ = state_of(Listed)
    first, second = class_(), class_()
    second.add(1)
    first.merge(second)
    first.add(2)
    assert (first.own.values, second.own.values) == ([1, 2], [1])


# What cannot be an aggregate function


class Plain:
    total: int = 0

    def update(self, x: int) -> None:
        self.total += x

    def result(self) -> int:
        return self.total


def made(**parts: Any) -> type:
    """A class like Plain, with other parts."""
    hints = parts.pop("annotations", {"total": int})
    members = {"__annotations__": hints, "total": 0, "update": Plain.update, "result": Plain.result, **parts}
    return type("Made", (), {name: part for name, part in members.items() if part is not None})


def with_init(**attributes: Any) -> Callable[[Any], None]:
    def init(self: Any) -> None:
        vars(self).update(attributes)

    return init


def no_operand(self: Any) -> None: ...


def any_operands(self: Any, *x: int) -> None: ...


def untyped(self: Any, x) -> None: ...  # type: ignore[no-untyped-def]


def untyped_result(self: Any): ...  # type: ignore[no-untyped-def]


def needs_operand(self: Any, x: int) -> None: ...


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (lambda: udaf(made(update=None)), "MADE: the class has no method update(self, …)"),
        (lambda: udaf(made(result=None)), "MADE: the class has no method result(self)"),
        (
            lambda: udaf(made(update=no_operand)),
            "MADE: `update` takes at least one operand, and a number of them that is known",
        ),
        (
            lambda: udaf(made(update=any_operands)),
            "MADE: `update` takes at least one operand, and a number of them that is known",
        ),
        (lambda: udaf(made(update=untyped)), "MADE: parameter `x` has no type hint"),
        (lambda: udaf(made(result=untyped_result)), "MADE: the result has no type hint"),
        (
            lambda: udaf(made(__init__=with_init(extra=1))),
            "MADE: attribute `extra` has no annotation in the class, and would be lost at a restart",
        ),
        (
            lambda: udaf(made(annotations={"total": int, "more": str})),
            "MADE: attribute `more` has no value in the empty state",
        ),
        (
            lambda: udaf(made(annotations={"total": list[int]}, total=[])),
            "MADE: attribute `total` would be one for all groups: make it in __init__",
        ),
        (
            lambda: udaf(made(annotations={"total": complex}, total=1j)),
            "MADE: its state cannot be stored: ",
        ),
        (
            lambda: udaf(made(total="a")),
            "MADE: its state cannot be stored: attribute `total` is str, and its annotation says int",
        ),
        (
            lambda: udaf(made(__init__=needs_operand)),
            "MADE: its empty state cannot be made: TypeError: ",
        ),
        (
            lambda: udaf(name="sum")(Plain),
            "SUM is a function of Headrace's own: give it another name, @headrace.udaf(name=…)",
        ),
        (lambda: udaf(no_operand), "@headrace.udaf stands before a class, not function"),  # type: ignore[type-var]
        (
            lambda: own_functions([udf(name="plain")(lambda: 1)]),
            "PLAIN: the result has no type hint",
        ),
        (
            lambda: own_functions([udaf(Plain), udf(name="plain", returns="INT")(lambda: 1)]),
            "PLAIN: two functions have this name",
        ),
    ],
)
def test_what_cannot_be_an_aggregate_is_refused_with_the_reason(decorate: Callable[[], object], message: str) -> None:
    with pytest.raises(UdfError) as caught:
        decorate()
    assert str(caught.value).startswith(message)

"""Whole random queries, each a chain of steps, in Headrace's SQL and step by step in DuckDB's.

A step over rows filters them and makes some columns anew, under the names and of the kinds that they had; so every
step can follow every other. A step that groups has keys, aggregates and what is computed of these. In DuckDB each step
is a table of its own, and what it cannot compute for a row is found with TRY: so errors are compared as rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from hypothesis import strategies as st
from tests.property.expressions import (
    AS_A_WHOLE,
    CONSTANTS,
    KINDS,
    LEAVES,
    NOWHERE,
    Errors,
    Expr,
    expressions,
)

from headrace.app.application import App
from headrace.sql.errors import SqlError

SOURCE = (
    "CREATE STREAM t (id INT, i INT, n BIGINT, x DOUBLE, d DECIMAL(10, 2), s VARCHAR, b BOOLEAN, day DATE, "
    "ts TIMESTAMP, moment TIMESTAMP, WATERMARK FOR moment AS moment - INTERVAL '2' DAY);"
)
"""Nothing is late: that is compared elsewhere, with random layouts."""
TABLE = (
    "CREATE OR REPLACE TABLE t (id INTEGER, i INTEGER, n BIGINT, x DOUBLE, d DECIMAL(10, 2), s VARCHAR, b BOOLEAN, "
    "day DATE, ts TIMESTAMP, moment TIMESTAMP, part INTEGER)"
)
NAMES = {"int": "i", "double": "x", "decimal": "d", "text": "s", "bool": "b", "date": "day", "time": "ts"}
"""The column of each kind that a step makes anew."""
_COLUMNS = ("id", "i", "n", "x", "d", "s", "b", "day", "ts", "moment")
_CASTS = {"int": "INT", "decimal": "DECIMAL(10, 2)"}
_BY_TIME = "ORDER BY moment, part, id"


@cache
def reads(query: str) -> bool:
    """Whether Headrace reads a query; what it does not read yet is not drawn."""
    try:
        App(f"{SOURCE} {query}")
    except SqlError:
        return False
    return True


@dataclass(frozen=True)
class RowStep:
    """A filter, and columns made anew."""

    where: Expr | None
    anew: tuple[tuple[str, Expr], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return _COLUMNS

    def select(self, source: str) -> str:
        anew = {name: expr.sql for name, expr in self.anew}
        items = ", ".join(f"{anew[name]} AS {name}" if name in anew else name for name in _COLUMNS)
        return f"SELECT {items} FROM {source}{_where(self.where)}"

    def duckdb(self, source: str, target: str) -> list[str]:
        anew = {name: expr.duckdb for name, expr in self.anew}
        items = ", ".join(f"{anew[name]} AS {name}" if name in anew else name for name in (*_COLUMNS, "part"))
        evaluated = [expr for _, expr in self.anew]
        rows = _passing(source, "id", self.where)
        return [
            *_failing(source, "id", self.where, evaluated),
            f"CREATE OR REPLACE TABLE {target} AS SELECT {items} FROM {rows}",
        ]


@dataclass(frozen=True)
class Aggregate:
    """An aggregate call; `inexact`: the last bits depend on the order of the rows."""

    kind: str
    sql: str
    duckdb: str
    operands: tuple[Expr, ...]
    inexact: bool = False
    fails: bool = False


@dataclass(frozen=True)
class Window:
    """A window over `moment`, and a table function of DuckDB's SQL that gives each row its windows."""

    clause: str
    bounds: str
    """Of DuckDB, over `ms`: starts and ends as a list of structs; empty for a session."""
    gap_ms: int = 0


def _tumbling(size: int, offset: int) -> Window:
    start = f"ms - ((ms - {offset}) % {size} + {size}) % {size}"
    bounds = f"[{{'s': {start}, 'e': {start} + {size}}}]"
    return Window(f"TUMBLING (SIZE {size} MILLISECONDS, OFFSET {offset} MILLISECONDS)", bounds)


def _hopping(size: int, advance: int) -> Window:
    last = f"ms - (ms % {advance} + {advance}) % {advance}"
    starts = f"range({last} - {size // advance * advance}, ms + 1, {advance})"
    bounds = f"[{{'s': w, 'e': w + {size}}} for w in {starts} if w <= ms and ms < w + {size}]"
    return Window(f"HOPPING (SIZE {size} MILLISECONDS, ADVANCE BY {advance} MILLISECONDS)", bounds)


def _cumulating(step: int, size: int) -> Window:
    start = f"ms - (ms % {size} + {size}) % {size}"
    bounds = f"[{{'s': {start}, 'e': e}} for e in range({start} + {step}, {start} + {size} + 1, {step}) if ms < e]"
    return Window(f"CUMULATE ({step} MILLISECONDS, {size} MILLISECONDS)", bounds)


WITH_GAPS = _hopping(500, 1_000)
WINDOWS = (
    WITH_GAPS,
    *(_tumbling(size, offset) for size in (1_000, 5_000) for offset in (0, 300)),
    *(_hopping(size, advance) for size, advance in ((2_000, 500), (1_000, 700))),
    _cumulating(500, 2_000),
    *(Window(f"SESSION ({gap} MILLISECONDS)", "", gap) for gap in (300, 1_500)),
)


@dataclass(frozen=True)
class GroupStep:
    """GROUP BY, HAVING, and what is selected: over keys, window and aggregates, which DuckDB knows as k0, a0, …"""

    where: Expr | None
    keys: tuple[Expr, ...]
    aggregates: tuple[Aggregate, ...]
    window: Window | None
    having: Expr | None
    items: tuple[Expr, ...]
    by_number: bool
    """Keys are named by the number of their item."""
    final: bool
    latest: bool

    @property
    def names(self) -> list[str]:
        return [f"c{number}" for number in range(len(self.items))]

    def select(self, source: str) -> str:
        items = ", ".join(f"{item.sql} AS {name}" for name, item in zip(self.names, self.items, strict=True))
        keys = [str(number + 1) if self.by_number else key.sql for number, key in enumerate(self.keys)]
        group = f" GROUP BY {', '.join(keys)}" if keys else ""
        having = f" HAVING {self.having.sql}" if self.having else ""
        window = f" WINDOW {self.window.clause}" if self.window else ""
        emit = "FINAL" if self.final else "CHANGES"
        return f"SELECT {items} FROM {source}{_where(self.where)}{group}{having}{window} EMIT {emit}"

    def duckdb(self, source: str, target: str) -> list[str]:
        operands = (operand for aggregate in self.aggregates for operand in aggregate.operands)
        evaluated = (*self.keys, *operands)
        statements = _failing(source, "id", self.where, evaluated)
        rows = _passing(source, "id", self.where)
        keys = [f"k{number}" for number in range(len(self.keys))]
        named = ", ".join(f"{key.duckdb} AS k{number}" for number, key in enumerate(self.keys))
        statements.append(f"CREATE OR REPLACE TABLE keyed AS SELECT *{', ' if named else ''}{named} FROM {rows}")
        source, by = "keyed", keys
        if self.window is not None:
            statements.append(f"CREATE OR REPLACE TABLE windowed AS {_windowed(self.window, keys)}")
            source, by = "windowed", [*keys, "window_start", "window_end"]
        called = [f"{call.duckdb} AS a{number}" for number, call in enumerate(self.aggregates)]
        group = f"GROUP BY {', '.join(by)}" if by else "HAVING COUNT(*) > 0"
        statements.append(
            f"CREATE OR REPLACE TABLE grouped AS SELECT row_number() OVER () AS g, * FROM "
            f"(SELECT {', '.join([*by, *called]) or '1'} FROM {source} {group})"
        )
        results = [Expr("int", "", f"CAST(a{n} AS BIGINT)", True) for n, a in enumerate(self.aggregates) if a.fails]
        sums = ", ".join(f"TRY_CAST(a{n} AS BIGINT) AS a{n}" for n, a in enumerate(self.aggregates) if a.fails)
        statements += _failing("grouped", "g", None, (), "failed_groups", results)
        replaced = f"SELECT * REPLACE ({sums}) FROM grouped" if sums else "SELECT * FROM grouped"
        statements.append(f"CREATE OR REPLACE TABLE results AS {replaced}")
        statements += _failing("results", "g", self.having, self.items, "failed_groups")
        rows = _passing("results", "g", self.having, "failed_groups")
        items = ", ".join(f"{item.duckdb} AS {name}" for name, item in zip(self.names, self.items, strict=True))
        return [*statements, f"CREATE OR REPLACE TABLE {target} AS SELECT -g AS id, {items} FROM {rows}"]


def _windowed(window: Window, keys: Sequence[str]) -> str:
    """Rows of `keyed`, each in its windows."""
    times = "SELECT *, epoch_ms(moment) AS ms FROM keyed"
    if not window.gap_ms:
        pairs = f"SELECT *, unnest({window.bounds}) AS w FROM ({times})"
        return f"SELECT *, {_timestamp('w.s')} AS window_start, {_timestamp('w.e')} AS window_end FROM ({pairs})"
    by = ", ".join(keys) or "TRUE"
    begins = (
        f"CASE WHEN ms - LAG(ms) OVER (PARTITION BY {by} ORDER BY ms) < {window.gap_ms} THEN 0 ELSE 1 END AS begins"
    )
    island = f"SUM(begins) OVER (PARTITION BY {by} ORDER BY ms ROWS UNBOUNDED PRECEDING) AS island"
    rows = f"SELECT *, {island} FROM (SELECT *, {begins} FROM ({times}))"
    first, last = (f"{edge}(ms) OVER (PARTITION BY {by}, island)" for edge in ("MIN", "MAX"))
    start, end = _timestamp(first), _timestamp(f"{last} + {window.gap_ms}")
    return f"SELECT *, {start} AS window_start, {end} AS window_end FROM ({rows})"


def _timestamp(ms: str) -> str:
    return f"make_timestamp(CAST(({ms}) * 1000 AS BIGINT))"


def _where(condition: Expr | None) -> str:
    return f" WHERE {condition.sql}" if condition else ""


def _failing(
    source: str,
    key: str,
    condition: Expr | None,
    evaluated: Sequence[Expr],
    failed: str = "failed",
    first: Sequence[Expr] = (),
) -> list[str]:
    """Statements that add to a table the rows for which something cannot be computed: TRY makes NULL of them."""
    statements = [
        f"INSERT INTO {failed} SELECT {key} FROM {source} WHERE TRY([{expr.duckdb}]) IS NULL" for expr in first
    ]
    if condition is not None and condition.fallible:
        left = f"{key} NOT IN (SELECT {key} FROM {failed})"
        statements.append(
            f"INSERT INTO {failed} SELECT {key} FROM {source} WHERE {left} AND TRY([{condition.duckdb}]) IS NULL"
        )
    fallible = [expr.duckdb for expr in evaluated if expr.fallible]
    if fallible:
        fails = " OR ".join(f"TRY([{text}]) IS NULL" for text in fallible)
        statements.append(
            f"INSERT INTO {failed} SELECT {key} FROM {_passing(source, key, condition, failed)} WHERE {fails}"
        )
    return statements


def _passing(source: str, key: str, condition: Expr | None, failed: str = "failed") -> str:
    """The rows for which nothing failed and the condition is TRUE."""
    left = f"SELECT * FROM {source} WHERE {key} NOT IN (SELECT {key} FROM {failed})"
    kept = f" WHERE ({condition.duckdb}) IS TRUE" if condition is not None else ""
    return f"(SELECT * FROM ({left}){kept})"


Step = RowStep | GroupStep
_SPELLINGS = ("subquery", "with", "view", "stream")


@dataclass(frozen=True)
class Query:
    """Steps from the source to the sink `q<number>`, and how each but the last is written."""

    number: int
    steps: tuple[Step, ...]
    spellings: tuple[str, ...]

    @property
    def last(self) -> Step:
        return self.steps[-1]

    @property
    def sink(self) -> str:
        return f"q{self.number}"

    def sql(self) -> str:
        """The statements of the query."""
        before: list[str] = []
        commons: list[str] = []
        source = "t"
        for depth, (step, spelling) in enumerate(zip(self.steps, self.spellings, strict=False)):
            name = f"q{self.number}_{depth}"
            text = step.select(source)
            match spelling:
                case "subquery":
                    source = f"({text}) AS {name}"
                    continue
                case "with":
                    commons.append(f"{name} AS ({text})")
                case "view" if not commons:
                    before.append(f"CREATE VIEW {name} AS {text};")
                case "stream" if not commons:
                    kind = "TABLE" if isinstance(step, GroupStep) else "STREAM"
                    before.append(f"CREATE {kind} {name} AS {text};")
                case _:
                    commons.append(f"{name} AS ({text})")
            source = name
        last = self.last
        query = last.select(source)
        common = f"WITH {', '.join(commons)} " if commons else ""
        if isinstance(last, RowStep):
            return "\n".join((*before, f"CREATE STREAM {self.sink} AS {common}{query};"))
        options = " WITH (changes = 'latest')" if last.latest else ""
        return "\n".join((*before, f"CREATE TABLE {self.sink}{options} AS {common}{query};"))

    def duckdb(self) -> list[str]:
        """Statements after which the table `result` holds the rows, `failed` the ids of bad records, `failed_groups`
        a row for each bad result row.
        """
        statements = ["CREATE OR REPLACE TABLE failed (id BIGINT)", "CREATE OR REPLACE TABLE failed_groups (g BIGINT)"]
        source = "t"
        for depth, step in enumerate(self.steps):
            target = "result" if step is self.last and depth == len(self.steps) - 1 else f"step_{depth}"
            statements += step.duckdb(source, target)
            source = target
        return statements


# Drawing


@st.composite
def conditions(draw: st.DrawFn, leaves: Mapping[str, Sequence[Expr]] = LEAVES, errors: Errors = NOWHERE) -> Expr:
    """A condition; where it may meet an error, perhaps the comparison of what fails with a constant."""
    if not errors.whole or draw(st.integers(0, 2)) > 0:
        return draw(expressions("bool", 2, leaves, errors))
    operand = draw(expressions(draw(st.sampled_from(("int", "decimal", "date"))), 2, leaves, errors))
    constant = {"int": "1", "decimal": "0.5", "date": "CAST('2000-02-29' AS DATE)"}[operand.kind]
    operator = draw(st.sampled_from(("<", ">=", "<>", "IS DISTINCT FROM")))
    ours, theirs = (f"({text} {operator} {constant})" for text in (operand.sql, operand.duckdb))
    return Expr("bool", ours, theirs, operand.fallible)


@st.composite
def row_steps(draw: st.DrawFn, *, last: bool) -> RowStep:
    errors = AS_A_WHOLE if last else NOWHERE
    where = draw(st.none() | conditions(errors=errors))
    kinds = draw(st.lists(st.sampled_from(KINDS), max_size=3, unique=True))
    anew = []
    for kind in kinds:
        expr = draw(expressions(kind, 2, errors=errors))
        if kind in _CASTS and last:  # so that the column keeps its type
            cast = f"CAST({{}} AS {_CASTS[kind]})"
            expr = Expr(kind, cast.format(expr.sql), cast.format(expr.duckdb), True)
        elif kind in _CASTS:
            plain = "i" if kind == "int" else "d"
            choice = f"CAST(CASE WHEN b THEN {plain} ELSE NULLIF({plain}, 1) END AS {_CASTS[kind]})"
            expr = Expr(kind, choice, choice)
        anew.append((NAMES[kind], expr))
    return RowStep(where, tuple(anew))


def _call(
    kind: str, function: str, *operands: Expr, duckdb: str = "", inexact: bool = False, fails: bool = False
) -> Aggregate:
    return Aggregate(
        kind,
        function.format(*(operand.sql for operand in operands)),
        (duckdb or function).format(*(operand.duckdb for operand in operands)),
        operands,
        inexact,
        fails,
    )


_EXACT = ("int", "decimal", "text", "date", "time")


@st.composite
def aggregate_calls(
    draw: st.DrawFn, leaves: Mapping[str, Sequence[Expr]], errors: Errors, *, ordered: bool
) -> Aggregate:
    """One aggregate function, perhaps DISTINCT, perhaps with FILTER."""
    call = draw(_plain_calls(leaves, errors, ordered=ordered))
    is_plain = call.operands != (_D,) and not call.sql.startswith(("FIRST", "LAST"))
    fails = any(operand.fallible for operand in call.operands)  # an error of rows that the FILTER leaves out
    if not is_plain or fails or not reads(_WITH_FILTER) or draw(st.integers(0, 3)) > 0:
        return call
    condition = draw(expressions("bool", 1, leaves, NOWHERE))
    ours, theirs = f"{call.sql} FILTER (WHERE {condition.sql})", f"{call.duckdb} FILTER (WHERE {condition.duckdb})"
    return replace(call, sql=ours, duckdb=theirs)


_WITH_FILTER = "SELECT COUNT(*) FILTER (WHERE b) AS c FROM t;"


@st.composite
def _plain_calls(draw: st.DrawFn, leaves: Mapping[str, Sequence[Expr]], errors: Errors, *, ordered: bool) -> Aggregate:
    def of(kind: str, depth: int = 2) -> Expr:
        return draw(expressions(kind, depth, leaves, errors))

    def column(kind: str) -> Expr:
        return draw(st.sampled_from([leaf for leaf in leaves[kind] if leaf not in CONSTANTS[kind]] or CONSTANTS[kind]))

    match draw(st.integers(0, 12)):
        case 0:
            return _call("int", "COUNT(*)")
        case 1:
            return _call("int", "COUNT({0})", of(draw(st.sampled_from(KINDS))))
        case 2:
            return _call("int", "COUNT(DISTINCT {0})", of(draw(st.sampled_from((*_EXACT, "bool")))))
        case 3 | 4:
            return _call("int", "SUM({0})", of("int"), fails=True)
        case 5:
            return _call("double", "AVG({0})", column("int"), inexact=True)
        case 6:
            function = draw(st.sampled_from(("SUM({0})", "AVG({0})")))
            return _call("double", function, column("double"), inexact=True)
        case 7:
            return _call("decimal", "SUM({0})", of("decimal", 1))
        case 8:
            return (
                _call("decimal", "AVG({0})", _D, duckdb="[SUM({0}), COUNT({0})]", inexact=True)
                if leaves is LEAVES
                else _call("int", "COUNT(*)")
            )
        case 9 if ordered:
            function, edge = draw(st.sampled_from((("FIRST_VALUE", "first"), ("LAST_VALUE", "last"))))
            kind = draw(st.sampled_from(KINDS))
            duckdb = f"{edge}({{0}} {_BY_TIME}) FILTER ({{0}} IS NOT NULL)"
            return _call(kind, f"{function}({{0}})", of(kind, 1), duckdb=duckdb)
        case 10 if reads("SELECT SUM(DISTINCT i) AS c FROM t;"):
            return _call("int", "SUM(DISTINCT {0})", of("int", 1), fails=True)
        case _:
            kind = draw(st.sampled_from((*_EXACT, "double", "bool")))
            return _call(kind, draw(st.sampled_from(("MIN({0})", "MAX({0})"))), of(kind))


_D = Expr("decimal", "d", "d")


@st.composite
def group_steps(
    draw: st.DrawFn, leaves: Mapping[str, Sequence[Expr]] = LEAVES, *, ordered: bool = True, last: bool = True
) -> GroupStep:
    window = draw(st.none() | st.sampled_from(WINDOWS) | st.sampled_from(WINDOWS)) if ordered else None
    rows = AS_A_WHOLE if ordered and window != WITH_GAPS else NOWHERE  # of a row in no window nothing is computed
    where = draw(st.none() | conditions(leaves, rows))
    keys: list[Expr] = []
    for kind in draw(st.lists(st.sampled_from((*_EXACT, "bool", "double")), max_size=2)):
        key = draw(expressions(kind, 2, leaves, rows))
        if not _is_varying(key, leaves):
            columns = [leaf for leaf in leaves[kind] if leaf not in CONSTANTS[kind] and leaf.sql != "d"]
            key = draw(st.sampled_from(columns)) if columns else _D
        if key != _D and key.sql not in {other.sql for other in keys}:
            keys.append(key)
    below = rows if last else NOWHERE  # a call that the query around it does not use is not made
    calls = draw(st.lists(aggregate_calls(leaves, below, ordered=ordered), min_size=1, max_size=3))
    calls = list({call.sql: call for call in calls if last or not call.fails}.values())
    by_key = [Expr(key.kind, key.sql, f"k{number}") for number, key in enumerate(keys)]
    bounds = [Expr("time", name, name) for name in ("window_start", "window_end")] if window else []
    by_call = [Expr(call.kind, call.sql, f"a{number}") for number, call in enumerate(calls)]
    known = [*by_key, *bounds, *(leaf for leaf, call in zip(by_call, calls, strict=True) if not call.inexact)]
    above = {kind: [*(leaf for leaf in known if leaf.kind == kind), *CONSTANTS[kind]] for kind in KINDS}
    fails = any(call.fails for call in calls)
    final = not last or fails or draw(st.booleans())  # what fails over part of the rows may not over all of them
    errors = AS_A_WHOLE if final and last else NOWHERE
    if not calls:
        calls, by_call = [_call("int", "COUNT(*)")], [Expr("int", "COUNT(*)", "a0")]
    having = draw(st.none() | st.none() | conditions(above, errors))
    items = [*by_key, *bounds, *by_call]
    if last or not fails:
        items += [
            draw(expressions(kind, 2, above, errors)) for kind in draw(st.lists(st.sampled_from(KINDS), max_size=2))
        ]
    by_number = draw(st.booleans())
    latest = not final and draw(st.booleans())
    return GroupStep(where, tuple(keys), tuple(calls), window, having, tuple(items), by_number, final, latest)


def _is_varying(key: Expr, leaves: Mapping[str, Sequence[Expr]]) -> bool:
    """Whether a key reads a column: a constant is a key of its own kind."""
    columns = {leaf.sql for kind in leaves for leaf in leaves[kind]} - {
        leaf.sql for k in KINDS for leaf in CONSTANTS[k]
    }
    words = set(key.sql.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return bool(words & columns)


@st.composite
def queries(draw: st.DrawFn, number: int) -> Query:
    before = draw(st.lists(row_steps(last=False), max_size=2))
    match draw(st.integers(0, 5)):
        case 0 | 1:
            steps: list[Step] = [*before, draw(row_steps(last=True))]
        case 2 | 3 | 4:
            steps = [*before, draw(group_steps())]
        case _:
            inner = draw(group_steps(last=False).filter(lambda step: step.window is not None))
            exact = [
                Expr(item.kind, name, name)
                for name, item in zip(inner.names, inner.items, strict=True)
                if not any(call.inexact and call.sql == item.sql for call in inner.aggregates)
            ]
            leaves = {kind: [*(leaf for leaf in exact if leaf.kind == kind), *CONSTANTS[kind]] for kind in KINDS}
            steps = [*before, inner, draw(group_steps(leaves, ordered=False))]
    spellings = tuple(draw(st.sampled_from(_SPELLINGS)) for _ in steps[:-1])
    return Query(number, tuple(steps), spellings)


@st.composite
def query_lists(draw: st.DrawFn, most: int = 5) -> list[Query]:
    count = draw(st.sampled_from((1, 2, 3, 3, 4, 4, most)))
    return [draw(queries(number)) for number in range(count)]

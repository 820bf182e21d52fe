"""Random queries with OVER, each beside what DuckDB computes for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hypothesis import strategies as st
from tests.property.generators import KEYS, SINK, SOURCES, TOPIC, WHERES, AppCase, Sink, Source, Term

_FRAMES = (
    ("", "time", "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"),
    ("ROWS UNBOUNDED PRECEDING", "seq", "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"),
    ("ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", "seq", "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW"),
    ("ROWS CURRENT ROW", "seq", "ROWS BETWEEN CURRENT ROW AND CURRENT ROW"),
    ("ROWS 120 PRECEDING", "seq", "ROWS BETWEEN 120 PRECEDING AND CURRENT ROW"),
    ("RANGE CURRENT ROW", "time", "RANGE BETWEEN CURRENT ROW AND CURRENT ROW"),
    (
        "RANGE BETWEEN INTERVAL '700' MILLISECOND PRECEDING AND CURRENT ROW",
        "time",
        "RANGE BETWEEN 700 PRECEDING AND CURRENT ROW",
    ),
)
"""A frame in Headrace's SQL; what orders rows in DuckDB's (`seq`: by event time), and the frame there."""
_ROWS = "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"


def _edge(function: str, column: str) -> str:
    """The first or last value, NULL or not: packed, so that DuckDB does not skip NULLs."""
    return f"({function}({{'v': {column}}}, seq) OVER {{w}}).v"


_FRAMED = (
    Term("COUNT(*)"),
    Term("COUNT(s)", ("s",)),
    Term("COUNT(DISTINCT s)", ("s",)),
    Term("SUM(i)", ("i",)),
    Term("AVG(i)", ("i",), double=True),
    Term("SUM(x)", ("x",), double=True),
    Term("AVG(x)", ("x",), double=True),
    Term("SUM(d)", ("d",)),
    Term("AVG(d)", ("d",), "{'total': SUM(d) OVER {w}, 'count': COUNT(d) OVER {w}}"),
    Term("MIN(s)", ("s",)),
    Term("MAX(n)", ("n",)),
    Term("MAX(day)", ("day",)),
    Term("MIN(k || s)", ("k", "s")),
    Term("SUM(10 / i)", ("i",), "SUM(10 // i) OVER {w}", "i = 0"),
    Term("COUNT(*) FILTER (WHERE i > 0)", ("i",)),
    Term("SUM(DISTINCT i)", ("i",)),
    Term("VAR_POP(x)", ("x",), double=True),
    Term("STDDEV(i)", ("i",), double=True),
    Term("MEDIAN(i)", ("i",), double=True),
    Term("BIT_XOR(n)", ("n",)),
    Term("COLLECT_LIST(i)", ("i",), "LIST(i ORDER BY seq) OVER {w}"),
    Term("LISTAGG(s, '-') FILTER (WHERE b)", ("s", "b"), "STRING_AGG(s, '-' ORDER BY seq) FILTER (WHERE b) OVER {w}"),
    Term("FIRST_VALUE(s)", ("s",), _edge("arg_min", "s")),
    Term("FIRST(b)", ("b",), _edge("arg_min", "b")),
    Term("LAST_VALUE(n)", ("n",), _edge("arg_max", "n")),
    Term("LAST_VALUE(day)", ("day",), _edge("arg_max", "day")),
    Term("NTH_VALUE(k, 2)", ("k",), "(list({'s': seq, 'v': k} ORDER BY seq) OVER {w})[2].v"),
)
_UNFRAMED = (
    Term("ROW_NUMBER()"),
    Term("RANK()", duckdb="RANK() OVER (PARTITION BY {by} ORDER BY time)"),
    Term("DENSE_RANK()", duckdb="DENSE_RANK() OVER (PARTITION BY {by} ORDER BY time)"),
    Term("LAG(n)", ("n",)),
    Term("LAG(s, 2)", ("s",)),
    Term("LAG(i, 1, 7)", ("i",)),
    Term("LAG(k, 3, s)", ("k", "s")),
    Term("LAG(day, 150)", ("day",)),
    Term("LAG(6 / i)", ("i",), "LAG(6 // i) OVER {w}", "i = 0"),
)
_LEADS = (
    Term("LEAD(n)", ("n",)),
    Term("LEAD(s, 2)", ("s",)),
    Term("LEAD(i, 1, 7)", ("i",)),
    Term("LEAD(k, 3, s)", ("k", "s")),
)


@dataclass(frozen=True)
class Call:
    """A call before OVER, and its frame (a number of _FRAMES)."""

    term: Term
    frame: int | None

    def sql(self) -> str:
        frame = "" if self.frame is None else _FRAMES[self.frame][0]
        return f"{self.term.sql} OVER (w {frame})" if frame else f"{self.term.sql} OVER w"

    def oracle(self, by: str) -> str:
        order, frame = ("seq", _ROWS) if self.frame is None else _FRAMES[self.frame][1:]
        if self.term.sql.startswith(("LAG", "LEAD", "ROW_NUMBER")):
            frame = ""
        window = f"(PARTITION BY {by} ORDER BY {order} {frame})"
        text = self.term.duckdb or f"{self.term.sql} OVER {{w}}"
        return text.replace("{w}", window).replace("{by}", by)


@dataclass(frozen=True)
class OverQuery:
    """One SELECT with OVER over the source."""

    keys: tuple[Term, ...]
    calls: tuple[Call, ...]
    where: Term | None
    kept: tuple[str, ...]
    """Columns of the source that are selected beside the calls."""

    @property
    def terms(self) -> tuple[Term, ...]:
        return (*self.keys, *(call.term for call in self.calls), *((self.where,) if self.where else ()))

    @property
    def columns(self) -> frozenset[str]:
        """Columns of the source that the query uses."""
        return frozenset((*self.kept, *(name for term in self.terms for name in term.columns)))

    @property
    def doubles(self) -> frozenset[str]:
        calls = (f"v{index}" for index, call in enumerate(self.calls) if call.term.double)
        return frozenset(("x",)) | frozenset(calls)

    def sql(self) -> str:
        items = [*self.kept, *(f"{call.sql()} AS v{index}" for index, call in enumerate(self.calls))]
        by = f"PARTITION BY {', '.join(term.sql for term in self.keys)} " if self.keys else ""
        where = f" WHERE {self.where.sql}" if self.where else ""
        return f"CREATE STREAM {SINK} AS SELECT {', '.join(items)} FROM {TOPIC}{where} WINDOW w AS ({by}ORDER BY at);"

    def oracle_items(self) -> Iterable[str]:
        by = ", ".join(term.oracle for term in self.keys) or "1"
        return (*(f'"{name}"' for name in self.kept), *(call.oracle(by) for call in self.calls))


@st.composite
def over_queries(draw: st.DrawFn, *, keyed: bool, leads: bool) -> OverQuery:
    keys = draw(st.lists(st.sampled_from(KEYS), max_size=2, unique=True))
    if keyed and draw(st.booleans()) and KEYS[0] not in keys:
        keys = [KEYS[0], *keys[:1]]
    framed = st.builds(Call, st.sampled_from(_FRAMED), st.integers(0, len(_FRAMES) - 1))
    unframed = st.builds(Call, st.sampled_from(_UNFRAMED + _LEADS if leads else _UNFRAMED), st.none())
    calls = draw(st.lists(st.one_of(framed, framed, unframed), min_size=1, max_size=4, unique=True))
    kept = draw(st.lists(st.sampled_from(("k", "s", "i", "n", "x", "at")), max_size=3, unique=True))
    return OverQuery(tuple(keys), tuple(calls), draw(st.none() | st.sampled_from(WHERES)), tuple(kept))


def _timed(source: Source) -> Source:
    """The source with a column as its event time: an order is by a column."""
    return source if source.delay_ms is not None else replace(source, delay_ms=500)


@dataclass(frozen=True)
class OverCase(AppCase):
    """An app of one query with OVER."""

    over: OverQuery | None = None


@st.composite
def over_apps(draw: st.DrawFn) -> OverCase:
    source = _timed(draw(SOURCES))
    query = draw(over_queries(keyed=source.keyed, leads=True))
    return OverCase(source, query.sql(), (Sink(SINK, "stream", query.doubles),), None, query)


# Top-N


@dataclass(frozen=True)
class Sorted:
    """One entry of an ORDER BY."""

    term: Term
    descending: bool
    nulls: str

    @property
    def ours(self) -> str:
        return f"{self.term.sql}{' DESC' if self.descending else ''}{self.nulls}"

    @property
    def oracle(self) -> str:
        # where nothing is said, NULL is larger than everything, as in PostgreSQL; DuckDB puts it last
        nulls = self.nulls or (" NULLS FIRST" if self.descending else " NULLS LAST")
        return f"{self.term.oracle}{' DESC' if self.descending else ''}{nulls}"


_SORTS = (
    Term("k", ("k",)),
    Term("s", ("s",)),
    Term("n", ("n",)),
    Term("i", ("i",)),
    Term("x", ("x",)),
    Term("d", ("d",)),
    Term("day", ("day",)),
    Term("b", ("b",)),
    Term("LENGTH(s)", ("s",)),
    Term("10 / i", ("i",), "10 // i", "i = 0"),
)
_TIME = Term("at", (), "time")
_BEHIND = (Term("i > 0", ("i",)), Term("s <> 'a'", ("s",)), Term("x IS NULL OR b", ("x", "b")))


@dataclass(frozen=True)
class TopQuery:
    """The first rows of each partition in an order."""

    keys: tuple[Term, ...]
    order: tuple[Sorted, ...]
    limit: int
    where: Term | None
    behind: Term | None
    """A condition on the rows that were numbered."""
    selects_number: bool
    latest: bool

    @property
    def terms(self) -> tuple[Term, ...]:
        conditions = (term for term in (self.where, self.behind) if term is not None)
        return (*self.keys, *(item.term for item in self.order), *conditions)

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(("k", "i", "x", *(name for term in self.terms for name in term.columns)))

    @property
    def items(self) -> tuple[str, ...]:
        return ("k", "i", "x", "at", *(("number",) if self.selects_number else ()))

    def sql(self) -> str:
        by = f"PARTITION BY {', '.join(term.sql for term in self.keys)} " if self.keys else ""
        order = ", ".join(item.ours for item in self.order)
        where = f" WHERE {self.where.sql}" if self.where else ""
        behind = f" AND ({self.behind.sql})" if self.behind else ""
        changes = "latest" if self.latest else "every"
        return (
            f"CREATE TABLE {SINK} WITH (changes = '{changes}') AS SELECT {', '.join(self.items)} FROM ("
            f"SELECT *, ROW_NUMBER() OVER ({by}ORDER BY {order}) AS number FROM {TOPIC}{where}) "
            f"WHERE number <= {self.limit}{behind};"
        )

    def oracle(self, passing: str) -> str:
        by = f"PARTITION BY {', '.join(term.oracle for term in self.keys)} " if self.keys else ""
        last = self.order[-1]
        ties = "time, partition, position"
        if last.term is _TIME and last.descending:
            ties = "time DESC, partition DESC, position DESC"
        order = ", ".join((*(item.oracle for item in self.order), ties))
        behind = f"AND ({self.behind.oracle})" if self.behind else ""
        items = ", ".join(f'"{name}"' for name in self.items)
        return (
            f"SELECT {items} FROM (SELECT *, ROW_NUMBER() OVER ({by}ORDER BY {order}) AS number FROM readable "
            f"WHERE {passing}) WHERE number <= {self.limit} {behind}"
        )


@dataclass(frozen=True)
class TopCase(AppCase):
    """An app of one Top-N."""

    top: TopQuery | None = None


@st.composite
def top_apps(draw: st.DrawFn) -> TopCase:
    source = _timed(draw(SOURCES))
    keys = draw(st.lists(st.sampled_from(KEYS), max_size=2, unique=True))
    if source.keyed and KEYS[0] not in keys:
        keys = [KEYS[0], *keys[:1]]
    sorted_ = st.builds(
        Sorted, st.sampled_from(_SORTS), st.booleans(), st.sampled_from(("", "", " NULLS FIRST", " NULLS LAST"))
    )
    order = draw(st.lists(sorted_, max_size=2, unique_by=lambda item: item.term))
    if not order or draw(st.booleans()):
        order.append(Sorted(_TIME, draw(st.booleans()) or not order, ""))
    query = TopQuery(
        tuple(keys),
        tuple(order),
        draw(st.sampled_from((1, 1, 2, 3, 5))),
        draw(st.none() | st.sampled_from(WHERES)),
        draw(st.none() | st.none() | st.sampled_from(_BEHIND)),
        draw(st.booleans()),
        draw(st.booleans()),
    )
    return TopCase(source, query.sql(), (Sink(SINK, "table", frozenset(("x",))),), None, query)


# Queries over each other


@st.composite
def ordered_apps(draw: st.DrawFn) -> AppCase:
    """OVER and Top-N above and below other queries."""
    source = _timed(draw(SOURCES))
    key, other = draw(st.sampled_from(("k", "s", "i", "b"))), draw(st.sampled_from(("k", "n", "i", "b")))
    where = draw(st.sampled_from(WHERES)).sql
    changes = draw(st.sampled_from(("every", "latest")))
    emit = draw(st.sampled_from(("FINAL", "CHANGES")))
    size = draw(st.sampled_from((500, 1000, 3000)))
    window = draw(
        st.sampled_from(
            (
                f"TUMBLING (SIZE {size} MILLISECONDS)",
                f"TUMBLING (SIZE {size} MILLISECONDS, GRACE PERIOD 700 MILLISECONDS)",
                f"HOPPING (SIZE {size} MILLISECONDS, ADVANCE BY 500 MILLISECONDS)",
                f"SESSION (GAP {size} MILLISECONDS)",
            )
        )
    )
    bounds = "window_end" if "SESSION" in window else draw(st.sampled_from(("window_end", "window_start")))
    limit = draw(st.sampled_from((1, 2, 4)))
    steps = (
        "CREATE VIEW steps AS SELECT k, s, b, i, n, at, LAG(i) OVER w AS previous, COUNT(*) OVER (w ROWS 3 PRECEDING) "
        f"AS c, ROW_NUMBER() OVER w AS number FROM {TOPIC} WHERE {where} "
        f"WINDOW w AS (PARTITION BY {key} ORDER BY at);"
    )
    per_window = (
        f"CREATE VIEW per_window AS SELECT {key}, window_start, window_end, COUNT(*) AS c, MIN(i) AS low FROM {TOPIC} "
        f"WHERE {where} GROUP BY {key} WINDOW {window} EMIT FINAL;"
    )
    options = f"WITH (changes = '{changes}')"
    updating = "final" if emit == "FINAL" else "table"
    numbered = "FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY"
    queries = {
        Sink("plain", "stream"): "CREATE STREAM plain AS SELECT * FROM steps WHERE previous > 0;",
        Sink("counted", updating): (
            f"CREATE TABLE counted {options} AS SELECT {other}, COUNT(*) AS c, SUM(previous) AS total, "
            f"LAST_VALUE(c) AS newest FROM steps WHERE number <= 3 GROUP BY {other} WINDOW {window} EMIT {emit};"
        ),
        Sink("forever", updating): (
            f"CREATE TABLE forever {options} AS SELECT {other}, COUNT(*) AS c FROM steps WHERE number = 1 "
            f"GROUP BY {other} EMIT {emit};"
        ),
        Sink("again", "stream"): (
            f"CREATE STREAM again AS SELECT {other}, c, LAG(number, 2) OVER v AS earlier, LEAD(k) OVER v AS following "
            f"FROM steps WINDOW v AS (PARTITION BY {other} ORDER BY at);"
        ),
        Sink("growth", "stream"): (
            f"CREATE STREAM growth AS SELECT {key}, {bounds} AS w, c - LAG(c) OVER v AS more, SUM(c) OVER v AS total "
            f"FROM per_window WINDOW v AS (PARTITION BY {key} ORDER BY {bounds});"
        ),
        Sink("overall", "stream"): (
            f"CREATE STREAM overall AS SELECT {key}, c, RANK() OVER v AS r, LAST_VALUE(low) OVER v AS l "
            f"FROM per_window WINDOW v AS (ORDER BY {bounds});"
        ),
        Sink("best", "final"): (
            f"CREATE TABLE best AS SELECT * {numbered} window_end ORDER BY c DESC, low) AS number FROM per_window) "
            f"WHERE number <= {limit};"
        ),
        Sink("counts", updating): (
            f"CREATE TABLE counts AS SELECT number, low, COUNT(*) AS c {numbered} window_end ORDER BY c) AS number "
            f"FROM per_window) WHERE number <= {limit} GROUP BY number, low WINDOW TUMBLING (5s) EMIT {emit};"
        ),
        Sink("most", "table"): (
            f"CREATE TABLE most {options} AS SELECT {other}, c, k AS name {numbered} {other} ORDER BY c DESC, at) "
            f"AS place FROM steps) WHERE place <= {limit} AND c > 1;"
        ),
        Sink("ended", "stream"): (
            f"CREATE STREAM ended AS SELECT {key}, c, SUM(l) OVER (ROWS WINDOW BUFFER 3 ROWS PARTITION BY c) AS t "
            f"FROM (SELECT {key}, COUNT(*) AS c, LENGTH(MIN(s)) AS l FROM {TOPIC} GROUP BY {key} EMIT FINAL);"
        ),
    }
    sinks = draw(st.lists(st.sampled_from(list(queries)), min_size=1, max_size=3, unique_by=lambda sink: sink.topic))
    return AppCase(source, "\n".join((steps, per_window, *(queries[sink] for sink in sinks))), tuple(sinks))

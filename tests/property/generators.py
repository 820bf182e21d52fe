"""Random sources, queries and schedules: what the properties run on, in memory here and later on a broker.

A source is a fixed layout: which record stands in which partition, in which order. Everything else (batch cuts,
interleaving, commits, restarts, mode, parallelism) is a schedule, and must not change a result.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from zlib import crc32
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

TOPIC = "events"
SINK = "totals"
ZONES = ("Europe/Paris", "America/Sao_Paulo", "Asia/Kathmandu")
BEFORE_SHORT_DAYS = (1_364_684_390_000, 1_382_237_990_000)
"""Ten seconds before a day of 23 hours begins: in Paris, and in Sao Paulo, where it begins at one o'clock."""
EPOCH_DAY = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Bad:
    """What a record has in a column where no value of its type stands."""


BAD = Bad()


@dataclass(frozen=True)
class Field:
    """One column of a record: its JSON text (None: the field is missing) and what it means."""

    text: str | None
    value: Any


@dataclass(frozen=True)
class EventRecord:
    """A record of the source as bytes, and what a reader must see in it; `row` None: nothing (malformed)."""

    key: bytes | None
    value: bytes | None
    timestamp: int
    row: dict[str, Any] | None = field(hash=False)


Layout = tuple[tuple[EventRecord, ...], ...]
"""Records by partition."""


def _plain(*values: Any) -> list[Field]:
    return [Field(json.dumps(value), value) for value in values]


def _bad(*texts: str) -> list[Field]:
    return [Field(text, BAD) for text in texts]


_MISSING = Field(None, None)
_NULL = Field("null", None)
_TEXTS = [*_plain("a", "b", "ab", "", "é", 'q"\\', "1", "null"), Field(r'"\u0061"', "a")]
_DECIMALS = [
    Field(text, Decimal(text.strip('"'))) for text in ("0", "0.00", "1.50", "1.5", '"2.25"', "-3.1", "9999999999.99")
] + [Field(text, Decimal(0)) for text in ("-0.00", "-0", '"-0.0"')]
_DAYS = [Field(f'"{text}"', date.fromisoformat(text)) for text in ("2013-01-05", "1969-12-31", "1970-01-01")]

GOOD: dict[str, list[Field]] = {
    "k": _TEXTS,
    "b": _plain(True, False),
    "n": _plain(0, 1, 2, -7, 2**53 + 1, 2**63 - 1, -(2**63)),
    "i": _plain(0, 1, -1, 2, 5, 2**31 - 1),
    "x": [*_plain(0.0, -0.0, 0.1, 1.5, -2.25, 1e15), Field("3", 3.0)],
    "d": _DECIMALS,
    "s": _TEXTS,
    "day": _DAYS,
}
WRONG: dict[str, list[Field]] = {
    "k": _bad("1", "true", "{}"),
    "b": _bad("1", '"true"'),
    "n": _bad("1.0", '"1"', str(2**63), "true"),
    "i": _bad(str(2**31), "0.5"),
    "x": _bad('"1"', "true", "1e999"),
    "d": _bad("1.005", '"NaN"', '"Infinity"', "1e400", "true", "10000000000"),
    "s": _bad("[]"),
    "day": _bad('"2013-02-30"', "0"),
    "at": [*_bad('"yesterday"', "1.5", "true"), Field("null", BAD), Field(None, BAD)],
}
COLUMNS = ("k", "b", "n", "i", "x", "d", "s", "day")
MALFORMED = (b"", b"{", b"[]", b'"k"', b'{"k":"a"', b'{"k":"a",}', b"nul", b'{"k":"a"}{}', b"\xff", b'{"k":1,"\xff":2}')


def _time_field(milliseconds: int, *, as_text: bool) -> Field:
    if not as_text:
        return Field(str(milliseconds), milliseconds)
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}"
    return Field(f'"{text}"', milliseconds)


def _mixed(name: str) -> list[Field]:
    """Fields to draw from: good values, every eighth NULL or missing, every fortieth wrong."""
    good, wrong = GOOD[name], WRONG[name]
    times = max(1, 40 * len(wrong) // len(good))
    count = times * len(good)
    return [*good * times, *[_NULL, _MISSING] * (count // 16), *wrong * max(1, count // 40 // len(wrong))]


_COLUMNS = {name: st.sampled_from(_mixed(name)) for name in COLUMNS}
_PROGRESS = st.sampled_from((0, 0, 0, 500, 500, 500, 1000, 1000, 2500, 9000))
_JITTER = st.sampled_from((0, 0, 0, 0, -500, -1000, -1500, -2000, -2500, -3000, -4000, -8000, 1, -1, 100))


@st.composite
def _events(draw: st.DrawFn, around_ms: int, *, keyed: bool) -> EventRecord:
    kind = draw(st.integers(0, 59))
    timestamp = max(0, around_ms + 20_000 + draw(st.sampled_from((0, 0, 700, -1500))))
    if kind == 0:
        return EventRecord(None, draw(st.sampled_from(MALFORMED)), timestamp, None)
    if kind == 1:
        return EventRecord(b"k", None, timestamp, None)
    fields = {name: draw(column) for name, column in _COLUMNS.items()}
    if kind == 2:
        fields["at"] = draw(st.sampled_from(WRONG["at"]))
    else:
        jitter = draw(_JITTER)
        fields["at"] = _time_field(around_ms + jitter, as_text=draw(st.integers(0, 9)) == 0)
    key: bytes | None = None
    row: dict[str, Any] = {name: item.value for name, item in fields.items()}
    if keyed:
        text = row["k"]
        if not isinstance(text, str):
            fields["k"], row["k"] = _NULL, None
        elif draw(st.booleans()):
            key = text.encode()
            if draw(st.booleans()):
                fields["k"] = draw(st.sampled_from((_NULL, _MISSING)))  # the record key says it alone
    names = {name: name for name in fields}
    if draw(st.integers(0, 19)) == 0:
        odd = draw(st.sampled_from(COLUMNS))
        names[odd] = odd.upper()
    order = draw(st.permutations(sorted(fields))) if draw(st.integers(0, 9)) == 0 else list(fields)
    parts = [f"{json.dumps(names[name])}:{fields[name].text}" for name in order if fields[name].text is not None]
    if draw(st.integers(0, 19)) == 0:
        parts.insert(0, '"extra":{"k":[1,{"n":"x"}]}')
    return EventRecord(key, ("{" + ",".join(parts) + "}").encode(), timestamp, row)


@st.composite
def layouts(draw: st.DrawFn, *, keyed: bool, together: bool = False, most: int = 40) -> Layout:
    """Records spread over one to four partitions. `keyed`: equal keys stand in one partition, and some of them in the
    record key; `together`: equal keys stand in one partition, whether anything says so or not.
    """
    partitions: list[list[EventRecord]] = [[] for _ in range(draw(st.integers(1, 4)))]
    least = draw(st.sampled_from((0, most // 2, most)))
    steps = draw(st.lists(_PROGRESS, min_size=least, max_size=most))
    around_ms = draw(st.sampled_from((-12_000, -1_000, 0, 1_357_000_000_000, *BEFORE_SHORT_DAYS)))
    for step in steps:
        around_ms += step
        record = draw(_events(around_ms, keyed=keyed))
        if keyed or together:
            value = None if record.row is None else record.row["k"]
            number = crc32(repr(value).encode()) % len(partitions)
        else:
            number = draw(st.integers(0, len(partitions) - 1))
        partitions[number].append(record)
        if draw(st.integers(0, 14)) == 0:
            partitions[number].append(record)  # a duplicate
    return tuple(tuple(records) for records in partitions)


# Queries


@dataclass(frozen=True)
class Term:
    """An expression in Headrace's SQL and in DuckDB's, the columns it reads, and for which rows it is an error."""

    sql: str
    columns: tuple[str, ...] = ()
    duckdb: str = ""
    error: str = ""
    double: bool = False
    changes: bool = True
    """Its results over part of the input are never errors, so it may be asked for changes."""

    @property
    def oracle(self) -> str:
        return self.duckdb or self.sql


KEYS = (
    Term("k", ("k",)),
    Term("s", ("s",)),
    Term("b", ("b",)),
    Term("x", ("x",), double=True),
    Term("d", ("d",)),
    Term("day", ("day",)),
    Term("n % 3", ("n",)),
    Term("i > 0", ("i",)),
    Term("UPPER(k)", ("k",)),
    Term("COALESCE(k, s)", ("k", "s")),
    Term("CASE WHEN b THEN 'yes' WHEN NOT b THEN 'no' END", ("b",)),
    Term("x * 0", ("x",), double=True),
    Term("d * 0", ("d",)),
    Term("6 / i", ("i",), "6 // i", "i = 0"),
)
WHERES = (
    Term("i > 0", ("i",)),
    Term("b", ("b",)),
    Term("NOT b", ("b",)),
    Term("k <> 'a' OR x IS NULL", ("k", "x")),
    Term("n % 2 = 0", ("n",)),
    Term("k LIKE 'a%' OR s IN ('a', '1')", ("k", "s")),
    Term("i IS NOT NULL AND k IS NOT NULL", ("i", "k")),
    Term("d BETWEEN 0 AND 2.25", ("d",)),
    Term("k IS DISTINCT FROM s", ("k", "s")),
)
_ORDER = "ORDER BY time, partition, position"


def _edge(function: str, column: str) -> str:
    return f"{function}({column} {_ORDER}) FILTER ({column} IS NOT NULL)"


def _extreme(value: str, other: str, direction: str, more: str = "") -> str:
    """The value in the first of the rows in which the other is smallest, or largest."""
    order = f"ORDER BY {other} {direction}, time, partition, position"
    return f"first({value} {order}) FILTER ({value} IS NOT NULL AND {other} IS NOT NULL{more})"


AGGREGATES = (
    Term("COUNT(*)"),
    Term("COUNT(s)", ("s",)),
    Term("COUNT(DISTINCT s)", ("s",)),
    Term("COUNT(DISTINCT x)", ("x",)),
    Term("COUNT(DISTINCT d)", ("d",)),
    Term("COUNT(DISTINCT day)", ("day",)),
    Term("SUM(i)", ("i",)),
    Term("SUM(n)", ("n",), changes=False),
    Term("AVG(n)", ("n",), double=True),
    Term("SUM(x)", ("x",), double=True),
    Term("AVG(x)", ("x",), double=True),
    Term("AVG(i)", ("i",), double=True),
    Term("SUM(d)", ("d",)),
    Term("AVG(d)", ("d",), "{'total': SUM(d), 'count': COUNT(d)}"),
    Term("MIN(s)", ("s",)),
    Term("MAX(k)", ("k",)),
    Term("MIN(n)", ("n",)),
    Term("MAX(x)", ("x",)),
    Term("MIN(d)", ("d",)),
    Term("MAX(day)", ("day",)),
    Term("FIRST_VALUE(s)", ("s",), _edge("first", "s")),
    Term("LAST_VALUE(n)", ("n",), _edge("last", "n")),
    Term("LAST_VALUE(b)", ("b",), _edge("last", "b")),
    Term("FIRST_VALUE(day)", ("day",), _edge("first", "day")),
    Term("SUM(10 / i)", ("i",), "SUM(10 // i)", "i = 0"),
    Term("MAX(k || s)", ("k", "s")),
    Term("COUNT(n + 1)", ("n",), "COUNT(n)", "n = 9223372036854775807"),
    Term("COUNT_IF(i > 0)", ("i",), duckdb="COALESCE(COUNT_IF(i > 0), 0)"),
    Term("COUNT(*) FILTER (WHERE i > 0)", ("i",)),
    Term("COUNT(s) FILTER (WHERE NOT b)", ("s", "b")),
    Term("SUM(i) FILTER (WHERE k <> 'a')", ("i", "k")),
    Term("SUM(10 / i) FILTER (WHERE i <> 0)", ("i",), "SUM(10 // NULLIF(i, 0)) FILTER (WHERE i <> 0)"),
    Term("LAST_VALUE(n) FILTER (WHERE b)", ("n", "b"), f"last(n {_ORDER}) FILTER (b AND n IS NOT NULL)"),
    Term("FIRST_VALUE(s, FALSE)", ("s",), f"first(s {_ORDER})"),
    Term("LATEST_BY_OFFSET(d, FALSE)", ("d",), f"last(d {_ORDER})"),
    Term("LATEST_BY_OFFSET(s, FALSE) FILTER (WHERE i > 0)", ("s", "i"), f"last(s {_ORDER}) FILTER (i > 0)"),
    Term("ANY_VALUE(k)", ("k",), _edge("first", "k")),
    Term("ARG_MIN(s, i)", ("s", "i"), _extreme("s", "i", "")),
    Term("ARG_MAX(n, d)", ("n", "d"), _extreme("n", "d", "DESC")),
    Term("MAX_BY(b, s) FILTER (WHERE i < 5)", ("b", "s", "i"), _extreme("b", "s", "DESC", " AND i < 5")),
    Term("SUM(DISTINCT i)", ("i",)),
    Term("SUM(DISTINCT x)", ("x",), double=True),
    Term("SUM(DISTINCT d)", ("d",)),
    Term("AVG(DISTINCT n)", ("n",), double=True),
    Term("AVG(DISTINCT x)", ("x",), double=True),
    Term("COUNT(DISTINCT s) FILTER (WHERE b)", ("s", "b")),
    Term("STDDEV(x)", ("x",), double=True),
    Term("VAR_POP(x)", ("x",), double=True),
    Term("VAR_SAMP(i)", ("i",), double=True),
    Term("STDDEV_POP(i)", ("i",), double=True),
    Term("VAR_SAMP(d) FILTER (WHERE d < 100)", ("d",), "VAR_SAMP(d::DOUBLE) FILTER (WHERE d < 100)", double=True),
    # not over the extremes, beside which the digits of small values are lost here and in DuckDB
    Term("COVAR_POP(x, i) FILTER (WHERE i BETWEEN -9 AND 9 AND x BETWEEN -9 AND 9)", ("x", "i"), double=True),
    Term("COVAR_SAMP(i, x) FILTER (WHERE i BETWEEN -9 AND 9 AND x BETWEEN -9 AND 9)", ("i", "x"), double=True),
    Term("MEDIAN(i)", ("i",), double=True),
    Term("MEDIAN(x)", ("x",), double=True),
    Term("PERCENTILE_CONT(x, 0.25)", ("x",), "QUANTILE_CONT(x, 0.25)", double=True),
    Term("PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY i DESC)", ("i",), double=True),
    Term("PERCENTILE_DISC(s, 0.75)", ("s",), "QUANTILE_DISC(s, 0.75)"),
    Term("PERCENTILE_DISC(0.1) WITHIN GROUP (ORDER BY d)", ("d",)),
    Term("BOOL_AND(b)", ("b",)),
    Term("BOOL_OR(i > 1)", ("i",)),
    Term("BIT_AND(n)", ("n",)),
    Term("BIT_OR(i)", ("i",)),
    Term("BIT_XOR(n)", ("n",)),
    Term("APPROX_COUNT_DISTINCT(s)", ("s",), "COUNT(DISTINCT s)"),
    Term("APPROX_COUNT_DISTINCT(d)", ("d",), "COUNT(DISTINCT d)"),
    Term("APPROX_COUNT_DISTINCT(x)", ("x",), "COUNT(DISTINCT x)"),
    Term("COLLECT_LIST(i)", ("i",), f"LIST(i {_ORDER})"),
    Term("COLLECT_LIST(s) FILTER (WHERE b)", ("s", "b"), f"LIST(s {_ORDER}) FILTER (b)"),
    Term("ARRAY_AGG(s ORDER BY i DESC)", ("s", "i"), "LIST(s ORDER BY i DESC NULLS FIRST, time, partition, position)"),
    Term(
        "ARRAY_AGG(n ORDER BY b NULLS FIRST, k) FILTER (WHERE i > 0)",
        ("n", "b", "k", "i"),
        "LIST(n ORDER BY b NULLS FIRST, k NULLS LAST, time, partition, position) FILTER (i > 0)",
    ),
    Term(
        "ARRAY_SORT(COLLECT_SET(s) FILTER (WHERE s IS NOT NULL))",
        ("s",),
        "LIST(DISTINCT s ORDER BY s) FILTER (s IS NOT NULL)",
    ),
    Term("COLLECT_LIST(DISTINCT k)[1]", ("k",), f"FIRST(k {_ORDER})"),
    Term("LISTAGG(s, '-')", ("s",), f"STRING_AGG(s, '-' {_ORDER})"),
    Term(
        "STRING_AGG(k, ', ') WITHIN GROUP (ORDER BY n DESC NULLS LAST)",
        ("k", "n"),
        "STRING_AGG(k, ', ' ORDER BY n DESC NULLS LAST, time, partition, position)",
    ),
    Term("MAP_KEYS(MAP_AGG(s, i))", ("s", "i"), "LIST(DISTINCT s ORDER BY s) FILTER (s IS NOT NULL)"),
    Term("MAP_AGG(s, n)['a']", ("s", "n"), f"LAST(n {_ORDER}) FILTER (s = 'a')"),
    Term("HISTOGRAM(k)['ab']", ("k",), "NULLIF(COUNT(*) FILTER (k = 'ab'), 0)"),
    Term("TOPK(n, 3)", ("n",), "(LIST(n ORDER BY n DESC) FILTER (n IS NOT NULL))[1:3]"),
    Term("TOPKDISTINCT(i, 2)", ("i",), "(LIST(DISTINCT i ORDER BY i DESC) FILTER (i IS NOT NULL))[1:2]"),
    Term("EARLIEST_BY_OFFSET(s, 2)", ("s",), f"(LIST(s {_ORDER}) FILTER (s IS NOT NULL))[1:2]"),
    Term("LATEST_BY_OFFSET(n, 3, FALSE)", ("n",), f"LIST(n {_ORDER})[-3:]"),
    Term("SUM_LIST(ARRAY[i, 1])", ("i",), "SUM(COALESCE(i, 0)::BIGINT + 1)"),
)
HAVINGS = (
    Term("COUNT(*) > 1"),
    Term("COUNT(*) % 2 = 1"),
    Term("SUM(i) > 2", ("i",)),
    Term("MAX(k) = 'b' OR COUNT(s) = 1", ("k", "s")),
    Term("MIN(d) >= 0", ("d",)),
)


def _local(milliseconds: int, zone: str) -> datetime:
    return datetime.fromtimestamp(milliseconds // 1000, ZoneInfo(zone))


@cache
def _begin(day: date, zone: str) -> int:
    """The first moment of a day by the clocks of a zone, found by looking at them each quarter of an hour."""
    quarter_ms = 900_000
    noon = (day.toordinal() - EPOCH_DAY) * 86_400_000 + 43_200_000
    moments = range(noon - 27 * 3_600_000, noon + 27 * 3_600_000, quarter_ms)
    return next(moment for moment in moments if _local(moment, zone).date() >= day)


@dataclass(frozen=True)
class Window:
    """A window clause, and by brute force which windows a time is in (sessions apart)."""

    kind: str
    size_ms: int
    step_ms: int
    offset_ms: int
    grace_ms: int

    zone: str = "UTC"

    @property
    def clause(self) -> str:
        if self.kind == "DAYS":
            return f"WINDOW TUMBLING (1 DAY, TIMEZONE '{self.zone}', GRACE PERIOD {self.grace_ms} MILLISECONDS)"
        size, step, offset = (f"{ms} MILLISECONDS" for ms in (self.size_ms, self.step_ms, self.offset_ms))
        lengths = {
            "TUMBLING": f"SIZE {size}, OFFSET {offset}",
            "HOPPING": f"SIZE {size}, ADVANCE BY {step}, OFFSET {offset}",
            "CUMULATE": f"{step}, {size}, {offset}",
            "SESSION": f"{size}",
        }
        return f"WINDOW {self.kind} ({lengths[self.kind]}, GRACE PERIOD {self.grace_ms} MILLISECONDS)"

    def windows_of(self, time: int) -> list[tuple[int, int]]:
        if self.kind == "DAYS":
            day = _local(time, self.zone).date()
            return [(_begin(day, self.zone), _begin(day + timedelta(days=1), self.zone))]
        starts = {"TUMBLING": self.size_ms, "CUMULATE": self.size_ms, "HOPPING": self.step_ms}[self.kind]
        lengths = range(self.step_ms, self.size_ms + 1, self.step_ms) if self.kind == "CUMULATE" else (self.size_ms,)
        around = time - self.offset_ms
        first = around - around % starts - self.size_ms // starts * starts + self.offset_ms
        found = [(start, start + length) for start in range(first, time + 1, starts) for length in lengths]
        return [(start, end) for start, end in found if start <= time < end]


@dataclass(frozen=True)
class GroupedQuery:
    """One SELECT with GROUP BY over the source."""

    keys: tuple[Term, ...]
    aggregates: tuple[Term, ...]
    where: Term | None
    having: Term | None
    window: Window | None
    final: bool
    changes: str
    """every, latest, or the interval of EMIT EVERY."""
    ttl_ms: int | None = None

    @property
    def columns(self) -> frozenset[str]:
        """Columns of the source that the query uses."""
        terms = [*self.keys, *self.aggregates, *(term for term in (self.where, self.having) if term is not None)]
        return frozenset(name for term in terms for name in term.columns)

    @property
    def names(self) -> list[str]:
        window = ["window_start", "window_end"] if self.window else []
        return [
            *(f"key_{index}" for index in range(len(self.keys))),
            *window,
            *(f"value_{index}" for index in range(len(self.aggregates))),
        ]

    @property
    def doubles(self) -> frozenset[str]:
        terms = [*enumerate(self.keys), *enumerate(self.aggregates)]
        names = [*(f"key_{i}" for i in range(len(self.keys))), *(f"value_{i}" for i in range(len(self.aggregates)))]
        return frozenset(name for name, (_, term) in zip(names, terms, strict=True) if term.double)

    def sql(self) -> str:
        items = [f"{term.sql} AS key_{index}" for index, term in enumerate(self.keys)]
        if self.window:
            items += ["window_start", "window_end"]
        items += [f"{term.sql} AS value_{index}" for index, term in enumerate(self.aggregates)]
        where = f" WHERE {self.where.sql}" if self.where else ""
        window = f" {self.window.clause}" if self.window else ""
        group = f" GROUP BY {', '.join(term.sql for term in self.keys)}" if self.keys else ""
        having = f" HAVING {self.having.sql}" if self.having else ""
        is_interval = self.changes not in ("every", "latest")
        options = [] if is_interval else [f"changes = '{self.changes}'"]
        options += [f"ttl = '{self.ttl_ms}ms'"] if self.ttl_ms is not None else []
        joined = ", ".join(options)
        emit = "FINAL" if self.final else f"EVERY {self.changes}" if is_interval else "CHANGES"
        return (
            f"CREATE TABLE {SINK}{f' WITH ({joined})' if joined else ''} AS "
            f"SELECT {', '.join(items)} FROM {TOPIC}{where}{window}{group}{having} EMIT {emit};"
        )


@dataclass(frozen=True)
class Sink:
    """What is compared of a sink.

    `kind` is stream (all rows), table (last value of each key), final (each once), distinct (each once, whatever its
    timestamp) or table_by_arrival (last value of each key, whatever its timestamp).
    """

    topic: str
    kind: str
    doubles: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Source:
    delay_ms: int | None
    """None: the event time is the Kafka timestamp."""
    keyed: bool

    def sql(self) -> str:
        watermark = ""
        if self.delay_ms is not None:
            delay = f" - INTERVAL '{self.delay_ms}' MILLISECOND" if self.delay_ms else ""
            watermark = f", WATERMARK FOR at AS at{delay}"
        key = " KEY" if self.keyed else ""
        return (
            f"CREATE STREAM {TOPIC} (k VARCHAR{key}, b BOOLEAN, n BIGINT, i INT, x DOUBLE, d DECIMAL(12, 2), "
            f"s VARCHAR, day DATE, at TIMESTAMP{watermark});"
        )

    def time_of(self, record: EventRecord) -> int | None:
        """Event time; None where the record has none that can be read."""
        if self.delay_ms is None:
            return record.timestamp if record.row is not None else None
        if record.row is None or record.row["at"] is BAD:
            return None
        time: int = record.row["at"]
        return time


@dataclass(frozen=True)
class AppCase:
    """An app over the source, and what is known of its sinks."""

    source: Source
    queries: str
    sinks: tuple[Sink, ...]
    query: GroupedQuery | None = None

    @property
    def sql(self) -> str:
        return f"{self.source.sql()}\n{self.queries}"


SOURCES = st.builds(Source, st.sampled_from((0, 0, 500, 1500, None)), st.booleans())
_GRACES = st.sampled_from((0, 0, 500, 1000))
_OFFSETS = st.sampled_from((0, 0, 100, -300, 1700))
WINDOWS = st.one_of(
    st.builds(Window, st.just("TUMBLING"), st.sampled_from((500, 500, 1000, 3000)), st.just(0), _OFFSETS, _GRACES),
    st.builds(
        Window,
        st.just("HOPPING"),
        st.sampled_from((500, 1000, 2500)),
        st.sampled_from((500, 400, 700)),
        _OFFSETS,
        _GRACES,
    ),
    st.builds(Window, st.just("CUMULATE"), st.sampled_from((1000, 2000)), st.just(500), _OFFSETS, _GRACES),
    st.builds(Window, st.just("SESSION"), st.sampled_from((300, 500, 1200)), st.just(0), st.just(0), _GRACES),
    st.builds(Window, st.just("DAYS"), st.just(0), st.just(0), st.just(0), _GRACES, st.sampled_from(ZONES)),
)


@st.composite
def grouped_queries(draw: st.DrawFn, *, keyed: bool) -> GroupedQuery:
    final = draw(st.booleans())
    keys = draw(st.lists(st.sampled_from(KEYS), max_size=2, unique=True))
    if keyed and KEYS[0] not in keys:
        keys = [KEYS[0], *keys[:1]]
    usable = [term for term in AGGREGATES if final or term.changes]
    return GroupedQuery(
        tuple(keys),
        tuple(draw(st.lists(st.sampled_from(usable), min_size=1, max_size=4, unique=True))),
        draw(st.none() | st.sampled_from(WHERES)),
        draw(st.none() | st.sampled_from(HAVINGS)),
        draw(st.none() | WINDOWS | WINDOWS),
        final,
        draw(st.sampled_from(("every", "every", "latest", "latest", "100ms", "1s"))),
    )


@st.composite
def grouped_apps(draw: st.DrawFn) -> AppCase:
    source = draw(SOURCES)
    query = draw(grouped_queries(keyed=source.keyed))
    if source.delay_ms is None and "at" in query.columns:
        source = replace(source, delay_ms=0)
    sink = Sink(SINK, "final" if query.final else "table", query.doubles)
    return AppCase(source, query.sql(), (sink,), query)


@st.composite
def expiring_apps(draw: st.DrawFn) -> AppCase:
    """Tables with a ttl whose groups have `k` in their key."""
    source = draw(SOURCES)
    query = draw(grouped_queries(keyed=True))
    aggregates = tuple(term for term in query.aggregates if term.changes) or AGGREGATES[:1]
    ttl_ms = draw(st.sampled_from((500, 1_000, 3_000, 10_000)))
    changes = query.changes if query.changes in ("every", "latest") else "every"
    query = replace(query, aggregates=aggregates, window=None, final=False, changes=changes, ttl_ms=ttl_ms)
    return AppCase(source, query.sql(), (Sink(SINK, "table", query.doubles),), query)


@st.composite
def row_apps(draw: st.DrawFn) -> AppCase:
    """Queries that keep one row a record: filters, projections, one reading another."""
    where = draw(st.sampled_from(WHERES)).sql
    fused = (
        f"CREATE STREAM first AS SELECT k, i, s || '!' AS t FROM {TOPIC} WHERE {where};\n"
        "CREATE STREAM kept AS SELECT UPPER(t) AS u, i FROM first WHERE i > 0 OR k IS NULL;"
    )
    queries = draw(
        st.sampled_from(
            (
                f"CREATE STREAM kept AS SELECT * FROM {TOPIC} WHERE {where};",
                f"CREATE STREAM kept AS SELECT k, n + 1 AS m, x * 2 AS y, d + 1 AS e, 10 / i AS q FROM {TOPIC};",
                fused,
            )
        )
    )
    names = [name for name in ("first", "kept") if f"STREAM {name} " in queries]
    return AppCase(draw(SOURCES), queries, tuple(Sink(name, "stream") for name in names))


@st.composite
def chained_apps(draw: st.DrawFn) -> AppCase:
    """Several queries: streams of streams, windows over the rows of windows, and queries that share a stage."""
    source = draw(SOURCES)
    window, outer = draw(WINDOWS), draw(WINDOWS)
    inner_key = draw(st.sampled_from(("k", "s", "b", "i")))
    where = draw(st.sampled_from(WHERES)).sql
    changes = draw(st.sampled_from(("every", "latest")))
    outer_emit = draw(st.sampled_from(("FINAL", "CHANGES")))
    outer_keys = draw(st.sampled_from((inner_key, "c", f"{inner_key}, c", "", "c % 2, t IS NULL")))
    group = f"GROUP BY {outer_keys}" if outer_keys else ""
    selected = ", ".join(f"{key} AS g{index}" for index, key in enumerate(outer_keys.split(", "))) if outer_keys else ""
    selected += ", " if selected else ""
    stream = f"CREATE STREAM part AS SELECT k, s, b, i, n, d FROM {TOPIC} WHERE {where};"
    inner = (
        f"CREATE TABLE inner_totals AS SELECT {inner_key}, window_end AS w, COUNT(*) AS c, SUM(i) AS t, SUM(d) AS u, "
        f"FIRST_VALUE(n) AS f FROM part {window.clause} GROUP BY {inner_key} EMIT FINAL;"
    )
    outer_sql = (
        f"CREATE TABLE outer_totals WITH (changes = '{changes}') AS SELECT {selected}COUNT(*) AS rows_, SUM(c) AS cc, "
        f"SUM(t) AS tt, MAX(u) AS uu, MIN(f) AS ff FROM inner_totals {outer.clause} {group} EMIT {outer_emit};"
    )
    running = (
        f"CREATE TABLE running WITH (changes = '{changes}') AS SELECT {inner_key}, COUNT(*) AS c, MAX(s) AS m "
        f"FROM part GROUP BY {inner_key} HAVING COUNT(*) % 2 = 1;"
    )
    reader = "CREATE TABLE odd AS SELECT * FROM running WHERE m <> 'b';"
    forever = (
        f"CREATE TABLE forever WITH (changes = '{changes}') AS SELECT {selected}COUNT(*) AS rows_, SUM(c) AS cc "
        f"FROM inner_totals {group} EMIT {draw(st.sampled_from(('FINAL', 'CHANGES')))};"
    )
    chosen = [inner]
    sinks = [Sink("part", "stream"), Sink("inner_totals", "final")]
    if draw(st.booleans()):
        chosen.append(outer_sql)
        sinks.append(Sink("outer_totals", "final" if outer_emit == "FINAL" else "table"))
    if draw(st.booleans()):
        chosen += [running, reader]
        sinks += [Sink("running", "table"), Sink("odd", "stream")]
    if draw(st.booleans()):
        chosen.append(forever)
        sinks.append(Sink("forever", "final" if forever.endswith("FINAL;") else "table"))
    if "odd" in {sink.topic for sink in sinks}:
        sinks[[sink.topic for sink in sinks].index("odd")] = Sink("odd", "table")
    return AppCase(source, stream + "".join(chosen), tuple(sinks))


@st.composite
def united_apps(draw: st.DrawFn) -> AppCase:
    """UNION ALL of parts of the source, of its windows too, and what groups, orders, counts or passes on its rows."""
    source = draw(SOURCES)
    one, other = (draw(st.sampled_from(WHERES)).sql for _ in range(2))
    window, outer = draw(WINDOWS), draw(WINDOWS)
    changes = draw(st.sampled_from(("every", "latest")))
    branches = [
        f"SELECT k, s, b, i, n, d FROM {TOPIC} WHERE {one}",
        f"SELECT s, k, NOT b, i * 2, n, d FROM {TOPIC} WHERE {other}",
    ]
    has_windows = draw(st.booleans())
    if has_windows:
        branches.append(
            f"SELECT k, k AS s, TRUE, COUNT(*), FIRST_VALUE(n), SUM(d) FROM {TOPIC} {window.clause} GROUP BY k "
            "EMIT FINAL"
        )
        branches.append(f"SELECT k, NULLIF(k, k), FALSE, 1, n, d FROM {TOPIC}")
    view = f"CREATE VIEW merged (k, s, b, i, n, d) AS {' UNION ALL '.join(draw(st.permutations(branches)))};"
    totals = "COUNT(*) AS rows_, SUM(i) AS t, MAX(d) AS high, FIRST_VALUE(n) AS first_, LAST_VALUE(s) AS last_"
    readers = {
        Sink("closed", "final"): (
            f"CREATE TABLE closed AS SELECT k, window_end, {totals} FROM merged {outer.clause} GROUP BY k EMIT FINAL;"
        ),
        Sink("running", "table"): (
            f"CREATE TABLE running WITH (changes = '{changes}') AS SELECT b, {totals} FROM merged GROUP BY b "
            "HAVING COUNT(*) % 2 = 1;"
        ),
        Sink("at_end", "final"): f"CREATE TABLE at_end AS SELECT {totals} FROM merged EMIT FINAL;",
        Sink("newest", "table"): (
            "CREATE TABLE newest AS SELECT k, n, s, number FROM ("
            "SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY n DESC, s) AS number FROM merged) WHERE number <= 2;"
        ),
        Sink("seen", "distinct"): "CREATE STREAM seen AS SELECT DISTINCT k, i > 0 AS positive FROM merged;",
        Sink("keyed", "stream"): "CREATE STREAM keyed AS SELECT k, i FROM merged PARTITION BY k, b;",
    }
    if not has_windows:
        readers[Sink("kept", "stream")] = "CREATE STREAM kept AS SELECT UPPER(s) AS u, d, i FROM merged WHERE i > 0;"
    chosen = draw(
        st.lists(st.sampled_from(sorted(readers, key=lambda s: s.topic)), min_size=1, max_size=3, unique=True)
    )
    return AppCase(source, view + "".join(readers[sink] for sink in chosen), tuple(chosen))


@st.composite
def distinct_apps(draw: st.DrawFn) -> AppCase:
    """SELECT DISTINCT of rows and of windows, a count of what it lets through, and rows under another key."""
    source = draw(SOURCES)
    where, window = draw(st.sampled_from(WHERES)).sql, draw(WINDOWS)
    keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True))
    if source.keyed and KEYS[0] not in keys and draw(st.booleans()):
        keys[0] = KEYS[0]
    items = ", ".join(f"{key.sql} AS key_{index}" for index, key in enumerate(keys))
    doubles = frozenset(f"key_{index}" for index, key in enumerate(keys) if key.double)
    emit = draw(st.sampled_from(("CHANGES", "FINAL")))
    queries = {
        Sink("seen", "distinct", doubles): (
            f"CREATE STREAM seen AS SELECT DISTINCT {items} FROM {TOPIC} WHERE {where} EMIT {emit};"
        ),
        Sink("counted", "table_by_arrival"): (
            f"CREATE TABLE counted AS SELECT COUNT(*) AS rows_, COUNT(key_0) AS keys FROM ("
            f"SELECT DISTINCT {items} FROM {TOPIC});"
        ),
        Sink("windows", "final", doubles): (
            f"CREATE TABLE windows AS SELECT DISTINCT {items}, window_start FROM {TOPIC} {window.clause} EMIT FINAL;"
        ),
        Sink(
            "keyed", "stream", doubles
        ): f"CREATE STREAM keyed AS SELECT {items}, n FROM {TOPIC} PARTITION BY key_0, i;",
    }
    if window.kind == "SESSION":
        del queries[Sink("windows", "final", doubles)]
    chosen = draw(
        st.lists(st.sampled_from(sorted(queries, key=lambda s: s.topic)), min_size=1, max_size=3, unique=True)
    )
    return AppCase(source, "".join(queries[sink] for sink in chosen), tuple(chosen))


APPS = st.one_of(grouped_apps(), grouped_apps(), row_apps(), chained_apps(), united_apps(), distinct_apps())


# Schedules


@dataclass(frozen=True)
class Step:
    """`read` up to `count` records of the input number `which`, `commit` or `restart` (`which` None: all tasks)."""

    action: str
    which: int | None = None
    count: int = 0


@dataclass(frozen=True)
class Schedule:
    steps: tuple[Step, ...]
    again_at_end: bool
    """After the end everything is reopened and ended once more."""

    @property
    def restarts(self) -> bool:
        return self.again_at_end or any(step.action == "restart" for step in self.steps)


_READS = st.builds(Step, st.just("read"), st.integers(0, 11), st.integers(1, 9))
_COMMITS = st.builds(Step, st.just("commit"), st.none() | st.integers(0, 11))
_RESTARTS = st.builds(Step, st.just("restart"), st.none() | st.integers(0, 11))


@st.composite
def schedules(draw: st.DrawFn, *, restarts: bool, most: int = 30) -> Schedule:
    kinds = [_READS, _READS, _READS, _READS, _COMMITS] + ([_RESTARTS] if restarts else [])
    least = draw(st.sampled_from((0, most // 2, most)))
    steps = draw(st.lists(st.one_of(kinds), min_size=least, max_size=most))
    return Schedule(tuple(steps), again_at_end=restarts and draw(st.integers(0, 3)) == 0)


def envelopes(layout: Layout) -> list[dict[str, Any]]:
    """The layout as records of `App.local`, one partition after the other."""
    return [
        {
            "topic": TOPIC,
            "partition": number,
            "key": record.key,
            "value": record.value,
            "timestamp": record.timestamp,
        }
        for number, records in enumerate(layout)
        for record in records
    ]


def rows_in_order(layout: Layout) -> Sequence[tuple[int, int, EventRecord]]:
    """(partition, offset, record) of all."""
    return [
        (partition, offset, record) for partition, records in enumerate(layout) for offset, record in enumerate(records)
    ]

"""The workloads: their SQL, their records, and what must come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import msgspec

from headrace.app.bench.results import Results

SYMBOLS = 200
TRADERS = 50
PROBE_GROUPS = 64
START_MS = 1_700_000_040_000  # a full minute

TRADES = """\
CREATE STREAM trades (trader_id VARCHAR, symbol VARCHAR {key}, price DOUBLE, quantity BIGINT, trade_time TIMESTAMP,
  WATERMARK FOR trade_time AS trade_time - INTERVAL '5' SECOND) WITH (topic = '{{source}}');
"""
GROUPED = """\
CREATE TABLE grouped WITH (topic = '{sink}', changes = '{changes}') AS
SELECT {group}, COUNT(*) AS n, SUM(quantity) AS quantity, MIN(price) AS low, MAX(price) AS high, AVG(price) AS mean
FROM trades GROUP BY {group} EMIT CHANGES;
"""
PER_MINUTE = """\
CREATE TABLE per_minute WITH (topic = '{sink}') AS
SELECT symbol, window_start, COUNT(*) AS n, SUM(quantity) AS quantity, AVG(price) AS mean
FROM trades GROUP BY symbol WINDOW TUMBLING (trade_time, INTERVAL '1' MINUTE)"""
KEYED = TRADES.format(key="KEY")
UNKEYED = TRADES.format(key="")


class Outcome(Enum):
    """What of the sink is the result of a run."""

    ROWS = "all rows, in any order"
    TABLE = "the last row of each key"


@dataclass(frozen=True, slots=True)
class Workload:
    """One query over one kind of record, and the check of its output."""

    name: str
    what: str
    sql: str
    source: str
    """Kind of records, as in `records`."""
    outcome: Outcome
    check: Callable[[int, Results], str | None]
    """What is wrong with the results, given the number of input records; None if nothing."""

    @property
    def new_results(self) -> Results:
        return Results(by_key=self.outcome is Outcome.TABLE)


def records(kind: str, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each record, one millisecond of event time apart.

    `trades` (200 symbols, the key; 96 to 98 bytes), `accounts` (the same with 200,000 symbols), `devices` (with
    1,000,000: up to as many records have a symbol each), `visits` (10,000, each in bursts of 10), `values-N` (N groups,
    the key). Prices are quarters: their sums are exact in any order.
    """
    if kind.startswith("values-"):
        return _values(int(kind.removeprefix("values-")), count)
    return _trades(kind, count)


def _values(groups: int, count: int) -> Iterator[tuple[bytes, bytes]]:
    for i in range(count):
        group = b"G%03d" % (i * 7919 % groups)
        yield group, b'{"group_id":"%b","value":%d}' % (group, i % 1000)


def _trades(kind: str, count: int) -> Iterator[tuple[bytes, bytes]]:
    for i in range(count):
        if kind == "trades":
            pair = i * 7919 % (SYMBOLS * TRADERS)  # every pair of symbol and trader six times a minute
            symbol, trader = pair % SYMBOLS, pair // SYMBOLS
        elif kind == "visits":
            symbol, trader = i // 10_000 % 10 * 1_000 + i % 1_000, i % TRADERS  # 10 records, a second apart, each 100 s
        else:
            symbol, trader = i * 7919 % (1_000_000 if kind == "devices" else 200_000), i % TRADERS
        name = b"SYM%06d" % symbol
        value = b'{"trader_id":"T%03d","symbol":"%b","price":%.2f,"quantity":%d,"trade_time":%d}' % (
            trader,
            name,
            100 + i * 31 % 10_000 // 25 / 4,
            i % 1000,
            START_MS + i,
        )
        yield name, value


def timestamp_ms(number: int) -> int:
    """The Kafka timestamp of a record, and its event time."""
    return START_MS + number


def probe(number: int, due_us: int) -> tuple[bytes, bytes]:
    """Key and value of a record that carries when it was due. The records of a group lie in one partition, in order."""
    group = b"G%02d" % (number % PROBE_GROUPS)
    return group, b'{"grp":"%b","due":%d}' % (group, due_us)


@lru_cache
def passing(count: int) -> int:
    """Records with a price above 150."""
    return sum(1 for i in range(count) if i * 31 % 10_000 // 25 > 200)


@lru_cache
def totals(groups: int, count: int) -> Mapping[str, int]:
    """The sum of each group of `values-N`."""
    sums: dict[str, int] = {}
    for i in range(count):
        group = f"G{i * 7919 % groups:03}"
        sums[group] = sums.get(group, 0) + i % 1000
    return sums


class Counted(msgspec.Struct):
    n: int


def _counted(results: Results) -> int:
    """The sum of the column n over the last rows."""
    decode = msgspec.json.Decoder(Counted).decode
    return sum(decode(value).n for value in results.last.values() if value is not None)


def _grouped(group: str, changes: str) -> str:
    """The source is keyed by symbol: nothing is re-keyed where that is the group."""
    source = KEYED if group == "symbol" else UNKEYED
    return source + GROUPED.replace("{group}", group).replace("{changes}", changes)


def _check_filter(count: int, results: Results) -> str | None:
    expected = passing(count)
    return None if results.rows == expected else f"{results.rows} rows instead of {expected}"


def _check_half(count: int, results: Results) -> str | None:
    expected = count // 1000 * 500 + max(count % 1000 - 500, 0)
    return None if results.rows == expected else f"{results.rows} rows instead of {expected}"


def _check_each(count: int, results: Results) -> str | None:
    return None if results.rows == count else f"{results.rows} rows instead of {count}"


def _check_grouped(count: int, results: Results) -> str | None:
    total = _counted(results)
    return None if total == count else f"the newest rows count {total} of {count}"


def _check_every(count: int, results: Results) -> str | None:
    return _check_each(count, results) or _check_grouped(count, results)


def _check_windows(count: int, results: Results) -> str | None:
    if len(results.last) != results.rows:
        return f"{results.rows - len(results.last)} windows came twice"
    total = _counted(results)
    return None if total == count else f"the windows count {total} of {count}"


def _check_hopping(count: int, results: Results) -> str | None:
    return _check_windows(6 * count, results)


def _check_sessions(count: int, results: Results) -> str | None:
    sessions = count // 10_000 * 1_000 + min(count % 10_000, 1_000)
    if results.rows != sessions:
        return f"{results.rows} sessions instead of {sessions}"
    return _check_windows(count, results)


class Total(msgspec.Struct):
    group_id: str
    total: int


def _check_totals(groups: int) -> Callable[[int, Results], str | None]:
    decode = msgspec.json.Decoder(Total).decode

    def check(count: int, results: Results) -> str | None:
        rows = [decode(value) for value in results.last.values() if value is not None]
        if {row.group_id: row.total for row in rows} != totals(groups, count):
            return "the sums of the groups are not those of the records"
        return _check_each(count, results)

    return check


def _totals(groups: int) -> Workload:
    return Workload(
        f"S5-{groups}",
        f"SELECT group_id, SUM(value) … GROUP BY group_id, {groups} groups, a result for each record",
        "CREATE STREAM stream (group_id VARCHAR KEY, value BIGINT) WITH (topic = '{source}');\n"
        "CREATE TABLE totals WITH (topic = '{sink}') AS "
        "SELECT group_id, SUM(value) AS total FROM stream GROUP BY group_id;",
        f"values-{groups}",
        Outcome.TABLE,
        _check_totals(groups),
    )


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "S0",
            "SELECT … WHERE quantity >= 500 (half pass), five columns",
            UNKEYED
            + "CREATE STREAM large WITH (topic = '{sink}') AS "
            + "SELECT trader_id, symbol, price, quantity, trade_time FROM trades WHERE quantity >= 500;",
            "trades",
            Outcome.ROWS,
            _check_half,
        ),
        Workload(
            "S1",
            "AVG over the last 100 rows of each of 200 symbols, in the order of event time",
            KEYED
            + "CREATE STREAM means WITH (topic = '{sink}') AS SELECT symbol, price, trade_time, AVG(price) OVER ("
            + "PARTITION BY symbol ORDER BY trade_time ROWS BETWEEN 99 PRECEDING AND CURRENT ROW) AS mean FROM trades;",
            "trades",
            Outcome.ROWS,
            _check_each,
        ),
        Workload(
            "S2",
            "GROUP BY 200 symbols, COUNT, SUM and AVG, a result for each record",
            KEYED
            + "CREATE TABLE grouped WITH (topic = '{sink}') AS "
            + "SELECT symbol, COUNT(*) AS n, SUM(quantity) AS quantity, AVG(price) AS mean "
            + "FROM trades GROUP BY symbol;",
            "trades",
            Outcome.TABLE,
            _check_every,
        ),
        Workload(
            "S3",
            "tumbling 1 minute, GROUP BY 200 symbols, EMIT FINAL",
            KEYED + PER_MINUTE + " EMIT FINAL;",
            "trades",
            Outcome.TABLE,
            _check_windows,
        ),
        Workload(
            "S4",
            "the same, EMIT CHANGES: a result for each record",
            KEYED + PER_MINUTE + " EMIT CHANGES;",
            "trades",
            Outcome.TABLE,
            _check_every,
        ),
        _totals(10),
        _totals(50),
        _totals(100),
        Workload(
            "W1",
            "SELECT … WHERE price > 150 (half pass)",
            UNKEYED
            + "CREATE STREAM expensive WITH (topic = '{sink}') AS "
            + "SELECT trader_id, symbol, price, quantity FROM trades WHERE price > 150;",
            "trades",
            Outcome.ROWS,
            _check_filter,
        ),
        Workload(
            "W2-latest",
            "GROUP BY 200 symbols, 5 aggregates, changes = 'latest'",
            _grouped("symbol", "latest"),
            "trades",
            Outcome.TABLE,
            _check_grouped,
        ),
        Workload(
            "W2-every",
            "the same, changes = 'every'",
            _grouped("symbol", "every"),
            "trades",
            Outcome.TABLE,
            _check_every,
        ),
        Workload(
            "W2h",
            "GROUP BY 200,000 symbols, changes = 'latest'",
            _grouped("symbol", "latest"),
            "accounts",
            Outcome.TABLE,
            _check_grouped,
        ),
        Workload(
            "W2m",
            "GROUP BY 1,000,000 symbols (as many as records, up to that), changes = 'latest'",
            _grouped("symbol", "latest"),
            "devices",
            Outcome.TABLE,
            _check_grouped,
        ),
        Workload(
            "W2-rekeyed",
            "GROUP BY 50 traders, changes = 'latest', re-keyed by partial aggregates",
            _grouped("trader_id", "latest"),
            "trades",
            Outcome.TABLE,
            _check_grouped,
        ),
        Workload(
            "W3",
            "tumbling 1 minute, GROUP BY trader, symbol, re-keyed, EMIT FINAL",
            UNKEYED
            + "CREATE TABLE per_minute WITH (topic = '{sink}') AS "
            + "SELECT trader_id, symbol, window_start, COUNT(*) AS n, SUM(quantity) AS quantity, AVG(price) AS mean "
            + "FROM trades GROUP BY trader_id, symbol WINDOW TUMBLING (trade_time, INTERVAL '1' MINUTE) EMIT FINAL;",
            "trades",
            Outcome.TABLE,
            _check_windows,
        ),
        Workload(
            "W4",
            "hopping 1 minute by 10 seconds (6 windows a record), GROUP BY symbol, re-keyed, EMIT FINAL",
            UNKEYED
            + "CREATE TABLE per_minute WITH (topic = '{sink}') AS "
            + "SELECT symbol, window_start, COUNT(*) AS n, SUM(quantity) AS quantity, AVG(price) AS mean FROM trades "
            + "GROUP BY symbol, HOP(trade_time, INTERVAL '10' SECOND, INTERVAL '1' MINUTE) EMIT FINAL;",
            "trades",
            Outcome.TABLE,
            _check_hopping,
        ),
        Workload(
            "W5",
            "sessions of 10 records, gap 30 seconds, 10,000 groups, re-keyed, EMIT FINAL",
            UNKEYED
            + "CREATE TABLE visits WITH (topic = '{sink}') AS "
            + "SELECT symbol, window_start, window_end, COUNT(*) AS n, SUM(quantity) AS quantity, AVG(price) AS mean "
            + "FROM trades GROUP BY symbol WINDOW SESSION (30 SECONDS) EMIT FINAL;",
            "visits",
            Outcome.TABLE,
            _check_sessions,
        ),
    )
}

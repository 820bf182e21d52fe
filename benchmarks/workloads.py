"""The workloads: their SQL, their records, and what must come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Workload:
    """One query over one kind of record, and the check of its output."""

    name: str
    what: str
    sql: str
    source: str
    """Kind of records: `trades` (200 symbols), `accounts` (200,000 symbols) or `visits` (10,000, each in bursts)."""
    check: Callable[[int, list[dict[str, object]]], str | None]
    """What is wrong with the sink's values (newest last), given the number of input records; None if nothing."""


def records(kind: str, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Key (the symbol) and value of each record: 96 bytes of JSON, one millisecond of event time apart."""
    for i in range(count):
        if kind == "trades":
            pair = i * 7919 % (SYMBOLS * TRADERS)  # every pair of symbol and trader six times a minute
            symbol, trader = pair % SYMBOLS, pair // SYMBOLS
        elif kind == "visits":
            symbol, trader = i // 10_000 % 10 * 1_000 + i % 1_000, i % TRADERS  # 10 records, a second apart, each 100 s
        else:
            symbol, trader = i * 7919 % 200_000, i % TRADERS
        name = b"SYM%06d" % symbol
        price = 100 + (i * 31 % 10_000) / 100
        value = b'{"trader_id":"T%03d","symbol":"%b","price":%.2f,"quantity":%d,"trade_time":%d}' % (
            trader,
            name,
            price,
            i % 1000,
            START_MS + i,
        )
        yield name, value


def probe(number: int, due_us: int) -> tuple[bytes, bytes]:
    """Key and value of a record that carries when it was due. The records of a group lie in one partition, in order."""
    group = b"G%02d" % (number % PROBE_GROUPS)
    return group, b'{"grp":"%b","due":%d}' % (group, due_us)


def passing(count: int) -> int:
    """Records with a price above 150."""
    return sum(1 for i in range(count) if i * 31 % 10_000 > 5_000)


def _grouped(group: str, changes: str) -> str:
    """The source is keyed by symbol: nothing is re-keyed where that is the group."""
    source = TRADES.format(key="KEY" if group == "symbol" else "")
    return source + GROUPED.replace("{group}", group).replace("{changes}", changes)


def _check_filter(count: int, rows: list[dict[str, object]]) -> str | None:
    expected = passing(count)
    return None if len(rows) == expected else f"{len(rows)} rows instead of {expected}"


def _check_grouped(count: int, rows: list[dict[str, object]]) -> str | None:
    last = {row.get("symbol", row.get("trader_id")): row["n"] for row in rows}
    total = sum(int(str(n)) for n in last.values())
    return None if total == count else f"the newest rows count {total} of {count}"


def _check_every(count: int, rows: list[dict[str, object]]) -> str | None:
    if len(rows) != count:
        return f"{len(rows)} rows instead of {count}"
    return _check_grouped(count, rows)


def _check_hopping(count: int, rows: list[dict[str, object]]) -> str | None:
    total = sum(int(str(row["n"])) for row in rows)
    return None if total == 6 * count else f"the windows count {total} of {6 * count}"


def _check_sessions(count: int, rows: list[dict[str, object]]) -> str | None:
    total = sum(int(str(row["n"])) for row in rows)
    if total != count:
        return f"the sessions count {total} of {count}"
    sessions = -(-count // 10)
    return None if len(rows) == sessions else f"{len(rows)} sessions instead of {sessions}"


def _check_windows(count: int, rows: list[dict[str, object]]) -> str | None:
    windows = [(row["trader_id"], row["symbol"], row["window_start"]) for row in rows]
    if len(set(windows)) != len(windows):
        return "a window came twice"
    total = sum(int(str(row["n"])) for row in rows)
    return None if total == count else f"the windows count {total} of {count}"


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "W1",
            "SELECT … WHERE price > 150 (half pass)",
            TRADES.format(key="")
            + "CREATE STREAM expensive WITH (topic = '{sink}') AS "
            + "SELECT trader_id, symbol, price, quantity FROM trades WHERE price > 150;",
            "trades",
            _check_filter,
        ),
        Workload(
            "W2-latest",
            "GROUP BY 200 symbols, 5 aggregates, changes = 'latest'",
            _grouped("symbol", "latest"),
            "trades",
            _check_grouped,
        ),
        Workload(
            "W2-every",
            "the same, changes = 'every'",
            _grouped("symbol", "every"),
            "trades",
            _check_every,
        ),
        Workload(
            "W2h",
            "GROUP BY 200,000 symbols, changes = 'latest'",
            _grouped("symbol", "latest"),
            "accounts",
            _check_grouped,
        ),
        Workload(
            "W2-rekeyed",
            "GROUP BY 50 traders, changes = 'latest', re-keyed by partial aggregates",
            _grouped("trader_id", "latest"),
            "trades",
            _check_grouped,
        ),
        Workload(
            "W3",
            "tumbling 1 minute, GROUP BY trader, symbol, re-keyed, EMIT FINAL",
            TRADES.format(key="")
            + "CREATE TABLE per_minute WITH (topic = '{sink}') AS "
            + "SELECT trader_id, symbol, window_start, COUNT(*) AS n, SUM(quantity) AS quantity, AVG(price) AS mean "
            + "FROM trades GROUP BY trader_id, symbol WINDOW TUMBLING (trade_time, INTERVAL '1' MINUTE) EMIT FINAL;",
            "trades",
            _check_windows,
        ),
        Workload(
            "W4",
            "hopping 1 minute by 10 seconds (6 windows a record), GROUP BY symbol, re-keyed, EMIT FINAL",
            TRADES.format(key="")
            + "CREATE TABLE per_minute WITH (topic = '{sink}') AS "
            + "SELECT symbol, window_start, COUNT(*) AS n, SUM(quantity) AS quantity, AVG(price) AS mean FROM trades "
            + "GROUP BY symbol, HOP(trade_time, INTERVAL '10' SECOND, INTERVAL '1' MINUTE) EMIT FINAL;",
            "trades",
            _check_hopping,
        ),
        Workload(
            "W5",
            "sessions of 10 records, gap 30 seconds, 10,000 groups, re-keyed, EMIT FINAL",
            TRADES.format(key="")
            + "CREATE TABLE visits WITH (topic = '{sink}') AS "
            + "SELECT symbol, window_start, window_end, COUNT(*) AS n, SUM(quantity) AS quantity, AVG(price) AS mean "
            + "FROM trades GROUP BY symbol WINDOW SESSION (30 SECONDS) EMIT FINAL;",
            "visits",
            _check_sessions,
        ),
    )
}

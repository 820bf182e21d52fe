"""What a changed text means for the state of a job."""

from __future__ import annotations

import pytest

from headrace.app.application import App
from headrace.app.server.verdicts import Kind, Verdict, Version, judge
from headrace.sql.physical import Mode

TRADES = "CREATE STREAM trades (symbol VARCHAR, price DOUBLE, qty BIGINT) WITH (topic = 'trades', partitions = 2);\n"
BIG = "CREATE STREAM big AS SELECT * FROM trades WHERE qty > 10;\n"
COUNTS = "CREATE TABLE counts AS SELECT symbol, COUNT(*) AS n FROM trades GROUP BY symbol;\n"


BIG_COUNTS = BIG + COUNTS.replace("trades", "big")


def version(sql: str, mode: Mode = Mode.PARTITIONED, parallelism: int | None = None) -> Version:
    return Version(App(TRADES + sql, "a"), mode, parallelism)


def verdict(old: str, new: str) -> Verdict:
    return judge(version(old), version(new))


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (BIG, BIG, Kind.UNCHANGED),
        (BIG + COUNTS, "-- the same\n" + BIG + COUNTS, Kind.UNCHANGED),
        (BIG, BIG.replace("10", "20"), Kind.COMPATIBLE),
        (BIG, BIG.replace("*", "symbol"), Kind.COMPATIBLE),
        (BIG + COUNTS, BIG.replace("10", "20") + COUNTS, Kind.COMPATIBLE),
        (COUNTS + BIG, COUNTS, Kind.COMPATIBLE),
        (COUNTS, COUNTS + BIG, Kind.COMPATIBLE),
        (BIG + COUNTS, COUNTS, Kind.REBUILD),
        (BIG, BIG + COUNTS, Kind.REBUILD),
        (COUNTS, COUNTS.replace("COUNT(*)", "SUM(qty)"), Kind.REBUILD),
        (COUNTS, COUNTS.replace("GROUP", "WHERE price > 1 GROUP"), Kind.REBUILD),
        (COUNTS, COUNTS.replace(";", " HAVING COUNT(*) > 1;"), Kind.REBUILD),
        (BIG_COUNTS, BIG_COUNTS.replace("10", "20"), Kind.REBUILD),
        (COUNTS, COUNTS.replace("symbol, COUNT", "price, COUNT").replace("BY symbol", "BY price"), Kind.INCOMPATIBLE),
        (COUNTS, BIG.replace("big", "counts"), Kind.INCOMPATIBLE),
    ],
)
def test_verdict(old: str, new: str, kind: Kind) -> None:
    found = verdict(old, new)
    assert found.kind is kind, found
    assert bool(found.reasons) is (kind in (Kind.REBUILD, Kind.INCOMPATIBLE))


def test_another_mode_or_parallelism_needs_a_rebuild() -> None:
    assert judge(version(COUNTS), version(COUNTS, Mode.SINGLE)).kind is Kind.REBUILD
    assert judge(version(COUNTS, parallelism=2), version(COUNTS, parallelism=3)).kind is Kind.REBUILD
    assert judge(version(COUNTS, parallelism=2), version(COUNTS)).kind is Kind.UNCHANGED


def test_a_column_of_the_source_that_no_query_reads_changes_nothing() -> None:
    wider = App((TRADES + COUNTS).replace("qty BIGINT", "qty BIGINT, note VARCHAR"), "a")
    assert judge(version(COUNTS), Version(wider, Mode.PARTITIONED, None)).kind is Kind.UNCHANGED

"""Every step of compilation, as text: statements → logical plan → physical plan → topology → generated Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.golden.goldens import CheckGolden, files

from headrace import App
from headrace.app.application import ExplainStage
from headrace.sql.physical import Mode

PLANS = files("plans", "*.sql")

SOURCE = """\
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, trade_time TIMESTAMP,
  WATERMARK FOR trade_time AS trade_time - INTERVAL '5' SECOND);
CREATE TABLE per_minute AS
"""
ITEMS = "SELECT symbol, window_start, MAX(price) AS high"
SPELLINGS = {
    "velostream": f"{ITEMS} FROM trades GROUP BY symbol WINDOW TUMBLING (trade_time, INTERVAL '1' MINUTE)",
    "short": f"{ITEMS} FROM trades GROUP BY symbol WINDOW TUMBLING (1m)",
    "ksqldb": f"{ITEMS} FROM trades WINDOW TUMBLING (SIZE 1 MINUTE) GROUP BY symbol EMIT FINAL",
    "flink group window": f"{ITEMS} FROM trades GROUP BY symbol, TUMBLE(trade_time, INTERVAL '1' MINUTE)",
    "flink function": f"{ITEMS} FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(trade_time), INTERVAL '1' MINUTE)) "
    "GROUP BY window_start, window_end, symbol",
    "risingwave": f"{ITEMS} FROM TUMBLE(trades, trade_time, INTERVAL '1' MINUTE) GROUP BY window_start, symbol "
    "EMIT ON WINDOW CLOSE",
    "tumble start": "SELECT symbol, TUMBLE_START() AS window_start, MAX(price) AS high FROM trades "
    "GROUP BY symbol, TUMBLE(trade_time, INTERVAL '60' SECONDS)",
}

HOPPING_ITEMS = "SELECT symbol, window_start, window_end, MAX(price) AS high"
HOPPING = {
    "velostream": f"{HOPPING_ITEMS} FROM trades GROUP BY symbol WINDOW HOPPING (trade_time, 1m, 10s)",
    "sliding": f"{HOPPING_ITEMS} FROM trades GROUP BY symbol WINDOW SLIDING (1m, 10s)",
    "ksqldb": "SELECT symbol, WINDOWSTART AS window_start, WINDOWEND AS window_end, MAX(price) AS high FROM trades "
    "WINDOW HOPPING (SIZE 1 MINUTE, ADVANCE BY 10 SECONDS) GROUP BY symbol EMIT FINAL",
    "flink group window": "SELECT symbol, HOP_START(trade_time, INTERVAL '10' SECOND, INTERVAL '1' MINUTE) AS "
    "window_start, HOP_END(trade_time, INTERVAL '10' SECOND, INTERVAL '1' MINUTE) AS window_end, MAX(price) AS high "
    "FROM trades GROUP BY symbol, HOP(trade_time, INTERVAL '10' SECOND, INTERVAL '1' MINUTE)",
    "flink function": f"{HOPPING_ITEMS} FROM TABLE(HOP(TABLE trades, DESCRIPTOR(trade_time), INTERVAL '10' SECOND, "
    "INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, symbol",
    "risingwave": f"{HOPPING_ITEMS} FROM HOP(trades, trade_time, INTERVAL '10' SECOND, INTERVAL '1' MINUTE) "
    "GROUP BY symbol, window_start, window_end",
}
SESSION = {
    "velostream": f"{HOPPING_ITEMS} FROM trades GROUP BY symbol WINDOW SESSION (5m)",
    "with its time": f"{HOPPING_ITEMS} FROM trades GROUP BY symbol WINDOW SESSION (trade_time, INTERVAL '5' MINUTE)",
    "ksqldb": f"{HOPPING_ITEMS} FROM trades WINDOW SESSION (300 SECONDS) GROUP BY symbol EMIT FINAL",
    "flink group window": f"{HOPPING_ITEMS} FROM trades GROUP BY symbol, SESSION(trade_time, INTERVAL '5' MINUTE)",
    "flink function": f"{HOPPING_ITEMS} FROM TABLE(SESSION(TABLE trades PARTITION BY symbol, DESCRIPTOR(trade_time), "
    "INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, symbol",
}
ALL_SPELLINGS = [
    (spellings["velostream"], text) for spellings in (SPELLINGS, HOPPING, SESSION) for text in spellings.values()
]


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_plan_is_as_expected_at_every_step(path: Path, golden: CheckGolden) -> None:
    golden(path.with_suffix(".golden"), _explained(path))


@pytest.mark.parametrize("spellings", ALL_SPELLINGS, ids=lambda spellings: spellings[1])
def test_every_spelling_of_a_window_makes_the_same_plan(spellings: tuple[str, str]) -> None:
    apps = [App(SOURCE + spelling) for spelling in spellings]
    for stage in ExplainStage:
        texts = [app.explain(stage) for app in apps]
        assert texts[0] == texts[1]


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_plan_does_not_depend_on_the_run(path: Path) -> None:
    assert _explained(path) == _explained(path)


def _explained(path: Path) -> str:
    app = App(path.read_text(encoding="utf-8"), name=path.stem)
    parts = [("logical", app.explain(ExplainStage.LOGICAL))]
    for stage in (ExplainStage.PHYSICAL, ExplainStage.TOPOLOGY, ExplainStage.CODE):
        texts = {mode: app.explain(stage, mode) for mode in Mode}
        if texts[Mode.SINGLE] == texts[Mode.PARTITIONED]:
            parts.append((f"{stage}, both modes", texts[Mode.SINGLE]))
        else:
            parts += [(f"{stage}, mode {mode}", text) for mode, text in texts.items()]
    return "\n".join(f"-- {title} {'-' * (100 - len(title))}\n\n{text.rstrip()}\n" for title, text in parts)

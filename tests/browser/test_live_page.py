"""The live page of a worker in a real Chromium: shows what the worker says, in light, in dark and on a phone."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.integration.edge_cluster import wait_until
from tests.integration.sql_app import NewSqlApp, SqlApp, row

from headrace.app import broker as brokers

SQL = """
CREATE STREAM hits (page VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at) WITH (topic = '{name}-in');
CREATE TABLE pages WITH (topic = '{name}-pages', changes = 'latest') AS
SELECT page, COUNT(*) AS hits FROM hits GROUP BY page EMIT CHANGES;
"""
VIEWS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}
SCREENSHOTS = Path("build/screenshots")


@pytest.fixture
def served(new_sql_app: NewSqlApp) -> Iterator[tuple[SqlApp, str]]:
    """A running app with some bad records, and the address of its worker."""
    app = new_sql_app(SQL)
    port = brokers.free_port()
    app.environment = {"HEADRACE_HTTP_PORT": str(port)}
    run = app.run()
    address = f"http://127.0.0.1:{port}"
    run.await_events("serving HTTP")
    app.produce([row(n % 4, page=f"p{n % 7}", at=1_700_000_000_000 + n) for n in range(400)])
    app.produce([row(n, page=n, at=1_700_000_000_000) for n in range(3)])
    app.await_caught_up()
    yield app, address
    assert run.stop() == 0


def status_of(address: str) -> dict[str, list[dict[str, list[dict[str, int]]]]]:
    with urllib.request.urlopen(f"{address}/status", timeout=10) as response:
        found: dict[str, list[dict[str, list[dict[str, int]]]]] = json.load(response)
        return found


@pytest.mark.parametrize("view", VIEWS)
def test_page_shows_what_the_worker_says(browser: Browser, served: tuple[SqlApp, str], view: str) -> None:
    app, address = served
    page = browser.new_page(**VIEWS[view])  # type: ignore[arg-type]
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.goto(address)
    expect(page.locator("#problems")).to_contain_text("3 records became dead letters")
    table = page.locator("#partitions tr")
    inputs = [each for task in status_of(address)["tasks"] for each in task["inputs"]]
    expect(table).to_have_count(len(inputs))
    for each in inputs:
        name = page.get_by_role("rowheader", name=f"{each['topic']}-{each['partition']}", exact=True)
        line = page.locator("#partitions tr").filter(has=name)
        expect(line).to_contain_text(f"{each['position']:,}")
    # Lively: what comes now is seen on the page without being asked for.
    app.produce([row(0, page="late", at=1_700_000_001_000) for _ in range(1_000)])
    wait_until(lambda: any(i["position"] > 1_000 for t in status_of(address)["tasks"] for i in t["inputs"]), "read")
    moved = max(i["position"] for t in status_of(address)["tasks"] for i in t["inputs"])
    expect(page.locator("#partitions")).to_contain_text(f"{moved:,}")
    assert page.locator("canvas").count() == 3
    expect(page.locator("#figures div").filter(has_text="Latency")).to_contain_text(re.compile(r"\d, [\d,.]+ ms"))
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= VIEWS[view]["viewport"]["width"]  # type: ignore[index]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"live-{view}.png", full_page=True)
    page.close()
    assert wrong == []

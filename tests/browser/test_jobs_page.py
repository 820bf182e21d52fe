"""The dashboard of a job server in a real Chromium, on a real server: by keyboard, in light, in dark, on a phone."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.integration.edge_cluster import wait_until
from tests.integration.sql_app import SqlApp, row, unique_name

from headrace.app import broker as brokers

TOKEN = "the-token-of-this-test"
SQL = """\
CREATE STREAM hits (page VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at) WITH (topic = '{name}-in');
CREATE TABLE pages WITH (topic = '{name}-pages', changes = 'latest') AS
SELECT page, COUNT(*) AS hits, CAST(MAX(at) AS BIGINT) * 100000 AS large FROM hits GROUP BY page EMIT CHANGES;
"""
WAITING = """\
CREATE STREAM nothing (a INT) WITH (topic = '{name}-absent');
CREATE STREAM b WITH (topic = '{name}-b') AS SELECT a FROM nothing;
"""
VIEWS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 780}},
}
EXPECTED = re.compile(r"the server responded with a status of (401|404|409|422)")
"""What the browser itself says of answers that the page expects."""
SCREENSHOTS = Path("build/screenshots")
START_MS = 60_000


@dataclass
class Dashboard:
    app: SqlApp
    address: str

    @property
    def job(self) -> str:
        return f"{self.app.name}-shop"

    def ask(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, sent, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            content = response.read()
            return json.loads(content) if content else None

    def deploy(self, name: str, sql: str) -> None:
        self.ask("POST", "/jobs", {"name": name, "sql": sql.replace("{name}", self.app.name)})

    def await_state(self, name: str, state: str) -> None:
        wait_until(lambda: self.ask("GET", f"/jobs/{name}")["state"] == state, f"{name} is {state}", START_MS / 1000)

    def inputs(self) -> list[dict[str, Any]]:
        status = self.ask("GET", f"/jobs/{self.job}")["status"]
        return [each for worker in status for task in worker["tasks"] for each in task["inputs"]]


@pytest.fixture
def dashboard(broker: str, tmp_path: Path) -> Iterator[Dashboard]:
    """A job server that wants a token, its source topic, and no job yet."""
    app = SqlApp(unique_name("page"), broker, tmp_path, SQL)
    app.create_topic(app.source, 4)
    app.environment = {
        "HEADRACE_HTTP_TOKEN": TOKEN,
        "HEADRACE_JOBS_TOPIC": f"{app.name}-jobs",
        "HEADRACE_JOB_EVENTS_TOPIC": f"{app.name}-events",
    }
    port = brokers.free_port()
    run = app.headrace("server", "--port", str(port))
    try:
        run.await_events("jobs are known")
        yield Dashboard(app, f"http://127.0.0.1:{port}")
        assert run.stop() == 0
    finally:
        app.close()


@contextmanager
def opened(browser: Browser, dashboard: Dashboard, path: str = "/", view: str = "light") -> Iterator[Page]:
    """A page in which nothing may go wrong, and which may ask nobody but its server."""
    page = browser.new_page(**VIEWS[view])  # type: ignore[arg-type]
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(dashboard.address) else wrong.append(request.url))
    page.goto(dashboard.address + path)
    yield page
    page.close()
    assert [text for text in wrong if not EXPECTED.search(text)] == []


def sign_in(page: Page) -> None:
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the focus is on what has that name, as somebody without a mouse does."""
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id")
        if focused == name:
            return
    raise AssertionError(f"Tab does not lead to {name}")


def test_token_is_asked_for_once_and_a_wrong_one_again(browser: Browser, dashboard: Dashboard) -> None:
    with opened(browser, dashboard) as page:
        field = page.get_by_label("Token")
        expect(field).to_be_focused()
        expect(page.locator("main")).to_be_hidden()
        field.fill("a-wrong-token-indeed")
        page.keyboard.press("Enter")
        expect(page.locator("#token-why")).to_contain_text("does not take this token")
        sign_in(page)
        expect(page.get_by_text("No job is deployed yet")).to_be_visible()
        page.goto(f"{dashboard.address}/#/jobs/no-such-job")
        expect(page.locator("#trouble")).to_have_text("there is no job 'no-such-job'")
        expect(page.get_by_role("button", name="Pause")).to_be_hidden()
        page.goto(f"{dashboard.address}/#/jobs")
        page.reload()
        expect(page.get_by_text("No job is deployed yet")).to_be_visible()
        expect(page.locator("#token")).to_be_hidden()
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_job_is_deployed_watched_changed_and_deleted_by_keyboard(browser: Browser, dashboard: Dashboard) -> None:
    app, job = dashboard.app, dashboard.job
    with opened(browser, dashboard) as page:
        sign_in(page)
        tab_to(page, "Deploy")
        page.keyboard.press("Enter")
        # An error first, behind a character that JavaScript counts as two.
        page.get_by_label("Name", exact=True).fill(job)
        sql = page.get_by_label("SQL", exact=True)
        sql.fill("/* 𝄞 */ " + app.sql.replace("COUNT(*)", "COUNTT(*)"))
        tab_to(page, "Check")
        page.keyboard.press("Enter")
        expect(page.locator("#deploy-detail")).to_contain_text("^^^")
        expect(sql).to_be_focused()
        assert "COUNTT" in page.evaluate("getSelection().toString()")
        expect(page.get_by_role("button", name="Deploy", exact=True)).to_be_hidden()
        # Then rightly: what was checked is what can be deployed.
        sql.fill("/* 𝄞 */ " + app.sql)
        tab_to(page, "Check")
        page.keyboard.press("Enter")
        expect(page.locator("#deploy-verdict")).to_have_text("A new job.")
        expect(page.get_by_role("button", name="Deploy", exact=True)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{dashboard.address}/#/jobs/{job}")
        expect(page.locator("#job-state")).to_have_text("running", timeout=START_MS)
        assert_shows_what_flows(page, dashboard)
        assert_obeys_the_keyboard(page, dashboard)
        # Another grouping is told before it is done.
        page.get_by_role("link", name="Change").click()
        expect(sql).to_have_value(re.compile("GROUP BY page"))
        sql.fill(sql.input_value().replace("COUNT(*)", "COUNT(page)"))
        page.get_by_role("button", name="Check").click()
        expect(page.locator("#deploy-verdict")).to_contain_text("Needs a rebuild")
        page.get_by_role("button", name="Deploy and rebuild").click()
        expect(page.locator("#job-rebuild")).to_contain_text("generation 1")
        expect(page.locator("#job-sql")).to_contain_text("COUNT(page)")
        # Delete asks; to keep it is what Enter does first.
        tab_to(page, "Delete …")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text(f"Delete job {job}?")
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Delete …")).to_be_focused()
        page.keyboard.press("Enter")
        page.get_by_label("Its own, and all that it has written").check()
        tab_to(page, "Delete")
        page.keyboard.press("Enter")
        expect(page.get_by_text("No job is deployed yet")).to_be_visible(timeout=START_MS)
    assert f"{app.name}-pages" not in app.cluster.topics([f"{app.name}-pages"])


def assert_shows_what_flows(page: Page, dashboard: Dashboard) -> None:
    app = dashboard.app
    app.produce([row(n % 4, page=f"p{n % 7}", at=1_700_000_000_000 + n) for n in range(4_000)])
    app.produce([row(1, page=n, at=1_700_000_000_000) for n in range(3)])
    wait_until(lambda: sum(each["consumed"] for each in dashboard.inputs() if each["topic"] == app.source) == 4_003, "")
    for each in dashboard.inputs():
        name = page.get_by_role("rowheader", name=f"{each['topic']}-{each['partition']}", exact=True)
        expect(page.locator("#partitions tr").filter(has=name)).to_contain_text(f"{each['position']:,}")
    expect(page.locator("#figures")).to_contain_text("Dead letters3")
    expect(page.locator("#job-problems")).to_contain_text("3 records became dead letters")
    letters = page.locator("#letters tbody tr")
    expect(letters).to_have_count(3, timeout=15_000)
    expect(letters.first).to_contain_text("page")
    assert page.locator("canvas").count() == 3
    expect(page.locator("#picture .node")).to_have_count(4)
    expect(page.locator("#picture")).to_contain_text(f"Records go from {app.source} to pages-0.")
    page.get_by_text("Generated code").click()
    expect(page.locator("[data-stage=code] pre")).to_contain_text("def ")


def assert_obeys_the_keyboard(page: Page, dashboard: Dashboard) -> None:
    pause = page.get_by_role("button", name="Pause")
    page.locator("#job-name").focus()
    tab_to(page, "Pause")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#job-state")).to_have_text("paused")
    expect(page.locator("#said")).to_contain_text(f"Job {dashboard.job} is paused")
    expect(pause).to_be_focused()
    expect(pause).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("Enter")  # a button that can do nothing now does nothing
    tab_to(page, "Resume")
    page.keyboard.press("Space")
    expect(page.locator("#job-state")).to_have_text("running")
    assert dashboard.ask("GET", f"/jobs/{dashboard.job}")["version"] == 3


def test_tables_answer_with_every_digit(browser: Browser, dashboard: Dashboard) -> None:
    app = dashboard.app
    dashboard.deploy(dashboard.job, SQL)
    app.produce([row(n % 4, page=f"p{n % 7}", at=1_700_000_000_000 + n) for n in range(70)])
    path = "/tables/pages"
    dashboard.await_state(dashboard.job, "running")
    wait_until(lambda: sum(each["hits"] for each in dashboard.ask("GET", path)["rows"]) == 70, "all are counted")
    with opened(browser, dashboard, "/#/tables") as page:
        sign_in(page)
        page.get_by_label("Ask a table").fill("SELECT page, hits, large FROM pages WHERE page = 'p6'")
        page.get_by_label("Of job").select_option(dashboard.job)
        page.get_by_role("button", name="Ask").click()
        expect(page.locator("#answer tbody tr")).to_have_text("p610170000000006900000")
        page.get_by_role("button", name="Rows of pages").click()
        expect(page.locator("#answer tbody tr")).to_have_count(7)
        expect(page.locator("#answer-note")).to_contain_text("pages: 7 rows")
        page.get_by_label("Ask a table").fill("SELECT nothing FROM pages")
        page.get_by_role("button", name="Ask").click()
        expect(page.locator("#answer-problem")).to_contain_text("^^^")


def test_every_view_fits_its_screen(browser: Browser, dashboard: Dashboard) -> None:
    app = dashboard.app
    dashboard.deploy(dashboard.job, SQL)
    dashboard.deploy(f"{app.name}-waiting", WAITING)
    dashboard.deploy(f"{app.name}-paused", SQL.replace("-pages", "-others").replace("TABLE pages", "TABLE others"))
    dashboard.await_state(dashboard.job, "running")
    dashboard.await_state(f"{app.name}-waiting", "waiting")
    dashboard.ask("POST", f"/jobs/{app.name}-paused/pause")
    app.produce([row(n % 4, page=f"p{n % 7}", at=1_700_000_000_000 + n) for n in range(400)])
    app.produce([row(1, page=n, at=1_700_000_000_000) for n in range(3)])
    wait_until(lambda: sum(each["hits"] for each in dashboard.ask("GET", "/tables/pages")["rows"]) == 400, "counted")
    for view in VIEWS:
        with opened(browser, dashboard, "/#/jobs", view) as page:
            sign_in(page)
            expect(page.locator("#job-list tbody tr")).to_have_count(3)
            expect(page.locator("#job-list")).to_contain_text(f"{app.name}-absent")
            # Its rate is known once it was asked twice.
            expect(page.locator("#job-list tr").filter(has_text=dashboard.job).locator("td").nth(3)).to_have_text("0")
            taken(page, "jobs", view)
            page.goto(f"{dashboard.address}/#/jobs/{dashboard.job}")
            expect(page.locator("#letters tbody tr")).to_have_count(3, timeout=15_000)
            expect(page.locator("canvas")).to_have_count(3)
            app.produce([row(n % 4, page=f"p{n % 7}", at=1_700_000_000_000 + n) for n in range(700)])
            expect(page.locator("#figures")).to_contain_text(re.compile(r"Records/s[\d,.]*[1-9]"))
            expect(page.locator("#figures")).to_contain_text("Records/s0")
            taken(page, "job", view)
            page.get_by_role("button", name="Delete …").click()
            page.screenshot(path=SCREENSHOTS / f"server-delete-{view}.png")
            page.get_by_role("button", name="Keep it").click()
            page.goto(f"{dashboard.address}/#/deploy")
            page.get_by_label("Name", exact=True).fill("shop")
            page.get_by_label("SQL", exact=True).fill(app.sql.replace("COUNT(*)", "COUNTT(*)"))
            page.get_by_role("button", name="Check").click()
            expect(page.locator("#deploy-detail")).to_be_visible()
            taken(page, "deploy", view)
            page.goto(f"{dashboard.address}/#/tables")
            page.get_by_role("button", name="Rows of pages").click()
            expect(page.locator("#answer tbody tr")).to_have_count(7)
            taken(page, "tables", view)


def taken(page: Page, name: str, view: str) -> None:
    """A screenshot, of a page that is no wider than its screen."""
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= VIEWS[view]["viewport"]["width"], name  # type: ignore[index]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"server-{name}-{view}.png", full_page=True)

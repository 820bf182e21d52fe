"""The parts of the dashboard that only compute, in a real Chromium, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

from headrace.app import page as files
from headrace.app.server import page as dashboard

ORIGIN = "http://dashboard.test"


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    contents = files.contents_of(dashboard.__name__, dashboard.FILES)

    def fulfil(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        route.fulfill(body=contents.get(name, b""), content_type="text/javascript" if name else "text/html")

    opened = browser.new_page()
    opened.route(f"{ORIGIN}/**", fulfil)
    opened.goto(f"{ORIGIN}/")
    yield opened
    opened.close()


def call(page: Page, module: str, function: str, *arguments: object) -> Any:
    called = "async ([module, name, given]) => (await import(`/page/${module}`))[name](...given)"
    return page.evaluate(called, [module, function, list(arguments)])


def layered(page: Page, nodes: str, *edges: str) -> tuple[list[list[str]], list[list[str]]]:
    """Layers and paths; each node is a letter, each edge two of them."""
    found = call(
        page,
        "layout.js",
        "layered",
        [{"id": each} for each in nodes],
        [{"source": source, "target": target} for source, target in edges],
    )
    return [[node["id"] for node in layer] for layer in found["layers"]], found["paths"]


def test_node_stands_behind_all_that_lead_to_it(page: Page) -> None:
    layers, _ = layered(page, "dcba", "ab", "bc", "cd", "ad")
    assert [layer[0] for layer in layers] == ["a", "b", "c", "d"]


def test_long_edge_passes_a_point_in_each_layer_between(page: Page) -> None:
    layers, paths = layered(page, "abcd", "ab", "bc", "cd", "ad")
    assert paths[3] == ["a", "a > d at 1", "a > d at 2", "d"]
    assert [len(layer) for layer in layers] == [1, 2, 2, 1]


def test_edges_do_not_cross_where_they_need_not(page: Page) -> None:
    layers, _ = layered(page, "abcd", "ad", "bc")
    assert [layers[0].index(each) for each in "ab"] == [layers[1].index(each) for each in "dc"]


def test_circle_is_drawn_all_the_same(page: Page) -> None:
    layers, _ = layered(page, "ab", "ab", "ba")
    assert sorted(each for layer in layers for each in layer) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "place", "selected"),
    [
        ("one\ntwo three", {"line": 2, "column": 5, "length": 5}, "three"),
        ("/* 𝄞𝄞 */ word", {"line": 1, "column": 10, "length": 4}, "word"),
        ("a 𝄞b𝄞 c", {"line": 1, "column": 3, "length": 3}, "𝄞b𝄞"),
        ("ends", {"line": 1, "column": 5, "length": 0}, ""),
        ("one\ntwo\nthree", {"line": 1, "column": 3, "length": 5}, "e\ntwo"),
    ],
)
def test_place_of_an_error_is_where_the_server_means(
    page: Page, text: str, place: dict[str, int], selected: str
) -> None:
    found = call(page, "places.js", "rangeOf", text, place)
    units = text.encode("utf-16-le")
    assert units[2 * found["start"] : 2 * found["end"]].decode("utf-16-le") == selected


def job(*consumed: int) -> dict[str, Any]:
    inputs = [
        {"topic": topic, "partition": 0, "consumed": each, "lag": 7, "watermark_ms": 40_000}
        for topic, each in zip(("between", "source"), consumed, strict=True)
    ]
    return {"reads": ["source"], "status": [{"tasks": [{"stage": "s-0", "inputs": inputs}]}]}


RATES = """async ([before, after]) => {
  const { rowsOf, consumedOf, loadOf } = await import("/page/status.js");
  const rows = rowsOf(after, consumedOf(rowsOf(before, null, 50), 50), 52);
  return [rows.map((row) => [row.name, row.rate, row.behind]), loadOf(rows)];
}"""


def test_rate_is_what_was_consumed_in_the_time_between(page: Page) -> None:
    rows, load = page.evaluate(RATES, [job(10, 100), job(14, 300)])
    assert rows == [["source-0", 100, 12], ["between-0", 2, 12]]
    assert load == {"rate": 100, "lag": 7}  # of the sources alone


def test_rate_of_a_task_that_was_opened_anew_is_not_negative(page: Page) -> None:
    _, load = page.evaluate(RATES, [job(10, 100), job(0, 3)])
    assert load["rate"] == 0


def test_numbers_keep_their_digits(page: Page) -> None:
    text = '{"rows": [{"a": 9007199254740993, "b": 1.10, "c": "x", "d": [12345678901234567890.5], "e": null}]}'
    shown = page.evaluate(
        """async (text) => {
          const { parseExactly, shownValue } = await import("/page/api.js");
          return Object.values(parseExactly(text).rows[0]).map(shownValue);
        }""",
        text,
    )
    assert shown == ["9007199254740993", "1.10", "x", "[12345678901234567890.5]", "null"]


def test_nothing_is_asked_while_nobody_can_see_it(page: Page) -> None:
    asked = page.evaluate(
        """async () => {
          const { poll } = await import("/page/poll.js");
          document.body.innerHTML = '<p id="trouble"></p>';
          let seen = "hidden", asked = 0;
          Object.defineProperty(document, "visibilityState", { get: () => seen, configurable: true });
          const leaving = new AbortController();
          const polling = poll(leaving.signal, 1, async () => { if (++asked === 3) leaving.abort(); });
          await new Promise((resolve) => setTimeout(resolve, 100));
          const whileHidden = asked;
          seen = "visible";
          document.dispatchEvent(new Event("visibilitychange"));
          await polling;
          delete document.visibilityState;
          return [whileHidden, asked];
        }"""
    )
    assert asked == [0, 3]

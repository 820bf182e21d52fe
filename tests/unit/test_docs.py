"""The docs hold what they promise: links lead somewhere, examples compile, what is generated is up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs import generate

from headrace import App
from headrace.sql.functions import aggregates, scalars, texts, totals
from headrace.sql.functions.accumulators import AggregateFunction
from headrace.sql.functions.registry import ScalarFunction

PAGES = [*generate.PAGES, generate.ROOT / "CONTRIBUTING.md", generate.ROOT / "CHANGELOG.md"]
EXAMPLES = [(name, *example) for name, f in scalars.BY_NAME.items() if name == f.name for example in f.examples]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def page_id(page: Path) -> str:
    return str(page.relative_to(generate.ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    prose = generate.BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(prose):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(found), f"{target}: no such heading"


@pytest.mark.parametrize("page", generate.PAGES, ids=page_id)
def test_sql_example_compiles(page: Path) -> None:
    base = ""
    for block in generate.blocks(page):
        language, *marks = block.info.split()
        if language != "sql":
            continue
        if "base" in marks:
            base = block.body
        if {"base", "app"} & set(marks):
            App(block.body).explain("code")
        if "query" in marks:
            App(base + block.body).explain("code")


@pytest.mark.parametrize("page", generate.PAGES, ids=page_id)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    assert generate.rendered(page) == page.read_text(encoding="utf-8"), "run `python -m docs.generate`"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_page_names_no_path_of_a_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.-])/(work|home|root|tmp|Users)/", text)


@pytest.mark.parametrize(("name", "call", "result"), EXAMPLES)
def test_example_of_a_function_gives_its_result(name: str, call: str, result: str) -> None:
    app = App(f"CREATE STREAM s (c INT); SELECT {call} AS given, {result} AS wanted FROM s")
    (record,) = app.local(inputs={"s": [{"c": 1}]}).records
    assert record.value is not None
    assert record.value["given"] == record.value["wanted"]


def test_worked_example_of_a_scalar_function_works(monkeypatch: pytest.MonkeyPatch) -> None:
    function: ScalarFunction = eval(_worked_example("scalar"), vars(texts))
    monkeypatch.setitem(scalars.BY_NAME, function.name, function)
    ((call, result),) = function.examples
    test_example_of_a_function_gives_its_result(function.name, call, result)


@pytest.mark.parametrize("mode", ["single", "partitioned"])
def test_worked_example_of_an_aggregate_function_works(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = dict(vars(totals))
    exec(_worked_example("aggregate"), names)
    function: AggregateFunction = names["PRODUCT"]
    monkeypatch.setitem(aggregates.BY_NAME, function.name, function)
    (example,) = function.examples
    sql = f"CREATE STREAM s (k INT, {example.columns}); SELECT k, {example.call} AS p FROM s GROUP BY k EMIT FINAL;"
    rows = [*({"k": 1, "x": value} for value in example.rows), {"k": 2, "x": None}, {"k": 3, "x": 2.5}]
    assert App(sql).local({"s": rows}, mode=mode).final("result") == {
        1: {"k": 1, "p": example.result},
        2: {"k": 2, "p": 1.0},
        3: {"k": 3, "p": 2.5},
    }


def _worked_example(name: str) -> str:
    blocks = generate.blocks(generate.ROOT / "docs" / "architecture.md")
    return next(block.body for block in blocks if f"example={name}" in block.info)


def test_page_on_lock_free_execution_names_what_is_there() -> None:
    text = (generate.ROOT / "docs/lock-free.md").read_text(encoding="utf-8")
    files = {path: (generate.ROOT / path).read_text() for path in re.findall(r"(?:agents|app|sql)/[\w/]+\.py", text)}
    code = "\n".join(files.values())
    names = set(re.findall(r"`([A-Z][A-Za-z]+)(?:\.\w+)?`", text))
    assert len(names) > 15
    assert {name for name in names if not re.search(rf"^class {name}\b", code, re.MULTILINE)} == set()

"""The files of a job server's dashboard: served, and asking nobody else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from headrace.app import page as worker_page
from headrace.app.server import page
from headrace.app.server.main import application
from headrace.app.server.server import JobServer
from headrace.app.settings_sources import load_settings

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-this-test"
Answer = tuple[int, Mapping[str, str], str]


def fetched(*paths: str) -> list[Answer]:
    """Status, headers and text of each path, asked for without the token. No Kafka is there, and none is needed."""

    async def fetch() -> list[Answer]:
        given = {"http_token": TOKEN, "bootstrap_servers": "127.0.0.1:1", "kafka.log_level": "0"}
        server = JobServer(load_settings(given, environ={}))
        async with TestClient(TestServer(application(server))) as client:
            answers = [await client.get(path) for path in paths]
            found = [(answer.status, answer.headers, await answer.text()) for answer in answers]
        await server.close()
        return found

    return asyncio.run(fetch())


def test_page_is_open_and_all_else_wants_the_token() -> None:
    paths = [f"/page/{name}" for name in (*page.FILES, *worker_page.SHARED)]
    answers = fetched("/", *paths)
    assert [status for status, _, _ in answers] == [200] * len(answers)
    assert [status for status, _, _ in fetched("/jobs", "/page/nothing.js", "/page/live.js")] == [401, 404, 404]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("index.html", "text/html"),
        ("main.js", "text/javascript"),
        ("jobs.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
        ("uPlot.iife.min.js", "text/javascript"),
    ],
)
def test_file_has_its_media_type_and_may_load_nothing_from_elsewhere(name: str, media_type: str) -> None:
    ((_, headers, _),) = fetched(f"/page/{name}")
    assert headers["Content-Type"] == f"{media_type}; charset=utf-8"
    assert headers["Content-Security-Policy"] == "default-src 'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_every_file_that_is_named_is_there_and_every_file_is_named() -> None:
    static = ROOT / "app" / "server" / "page" / "static"
    assert {file.name for file in static.iterdir()} == set(page.FILES)
    texts = {name: (static / name).read_text() for name in page.FILES}
    named = set(re.findall(r'(?:src|href)="/page/([^"]+)"', texts["index.html"]))
    for name in page.FILES:
        named |= set(re.findall(r'from "\./([^"]+)"', texts[name]))
    assert named | {"index.html"} == {*page.FILES, *worker_page.SHARED}


def test_page_names_no_other_host_and_has_no_inline_script_or_style() -> None:
    static = ROOT / "app" / "server" / "page" / "static"
    for name in page.FILES:
        text = (static / name).read_text().replace("http://www.w3.org/2000/svg", "")  # the name of a language
        assert "//" not in re.sub(r"(^|\s)// .*$", "", text, flags=re.MULTILINE), name
        assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=\"|\sstyle=\"|innerHTML", text), name

"""The files of the live page, as a browser gets them."""

from __future__ import annotations

import asyncio
import re

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from headrace.app import page


def fetched(*paths: str) -> list[tuple[int, str, str]]:
    """Status, media type and text of each path."""

    async def fetch() -> list[tuple[int, str, str]]:
        app = web.Application()
        app.add_routes(page.routes())
        async with TestClient(TestServer(app)) as client:
            answers = [await client.get(path) for path in paths]
            return [(answer.status, answer.content_type, await answer.text()) for answer in answers]

    return asyncio.run(fetch())


def test_every_file_that_the_page_names_is_served() -> None:
    ((status, media_type, text),) = fetched("/")
    assert (status, media_type) == (200, "text/html")
    named = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert {name.removeprefix("/page/") for name in named} == set(page.FILES) - {"index.html"}
    assert [status for status, _, _ in fetched(*named)] == [200] * len(named)


def test_page_asks_no_other_host_and_has_no_inline_script() -> None:
    for _, _, text in fetched("/", "/page/live.js", "/page/live.css"):
        assert "//" not in re.sub(r"^//.*$|^\s*// .*$", "", text, flags=re.MULTILINE)
        assert not re.search(r"<script(?![^>]* src=)|\son\w+=\"|\sstyle=", text)


def test_file_that_is_not_of_the_page_is_not_found() -> None:
    assert [status for status, _, _ in fetched("/page/nothing.js", "/page/..%2F__init__.py")] == [404, 404]

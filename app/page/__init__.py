"""The live page of a worker: files for a browser, which asks /status for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from aiohttp import web

MEDIA_TYPES = {
    "index.html": "text/html",
    "live.css": "text/css",
    "live.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
}


def routes() -> list[web.RouteDef]:
    """`/` and the files that it needs, under `/page/`. The files are read here, once."""
    static = files(__name__) / "static"
    contents = {name: (static / name).read_bytes() for name in MEDIA_TYPES}

    async def index(_request: web.Request) -> web.Response:
        return _file(contents, "index.html")

    async def file(request: web.Request) -> web.Response:
        return _file(contents, request.match_info["name"])

    return [web.get("/", index), web.get("/page/{name}", file)]


def _file(contents: Mapping[str, bytes], name: str) -> web.Response:
    if name not in contents:
        raise web.HTTPNotFound
    return web.Response(body=contents[name], content_type=MEDIA_TYPES[name], charset="utf-8")

"""The live page of a worker: files for a browser, which asks /status for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import PurePath

from aiohttp import web

SHARED = ("live.css", "icon.svg", "uPlot.iife.min.js", "uPlot.min.css")
"""Files that the page of a job server has too."""
FILES = ("index.html", "live.js", *SHARED)
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def routes() -> list[web.RouteDef]:
    """`/` and the files that it needs, under `/page/`. The files are read here, once."""
    return serving(contents_of(__name__, FILES))


def contents_of(package: str, names: Iterable[str]) -> dict[str, bytes]:
    """Files of the folder `static` of a package, by name."""
    static = files(package) / "static"
    return {name: (static / name).read_bytes() for name in names}


def serving(contents: Mapping[str, bytes]) -> list[web.RouteDef]:
    """`/` is the file index.html; it and all others are under `/page/` as well."""

    async def index(_request: web.Request) -> web.Response:
        return _file(contents, "index.html")

    async def file(request: web.Request) -> web.Response:
        return _file(contents, request.match_info["name"])

    return [web.get("/", index), web.get("/page/{name}", file)]


def _file(contents: Mapping[str, bytes], name: str) -> web.Response:
    if name not in contents:
        raise web.HTTPNotFound
    media_type = MEDIA_TYPES[PurePath(name).suffix]
    return web.Response(body=contents[name], content_type=media_type, charset="utf-8")

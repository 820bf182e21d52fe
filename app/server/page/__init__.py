"""The dashboard of a job server: files for a browser, which asks the HTTP API for the rest."""

from __future__ import annotations

from aiohttp import web

from headrace.app import page

FILES = (
    "index.html",
    "jobs.css",
    "api.js",
    "charts.js",
    "deploy.js",
    "dom.js",
    "job.js",
    "jobs.js",
    "layout.js",
    "main.js",
    "picture.js",
    "places.js",
    "poll.js",
    "status.js",
    "tables.js",
    "token.js",
)


def routes() -> list[web.RouteDef]:
    """`/` and the files that it needs, under `/page/`; some are those of a worker's page."""
    return page.serving({**page.contents_of(page.__name__, page.SHARED), **page.contents_of(__name__, FILES)})

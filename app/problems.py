"""Answers that say why a request was not answered: RFC 9457 problem documents."""

from __future__ import annotations

import orjson
from aiohttp import web

PROBLEM = "application/problem+json"


def problem(status: int, detail: str, **members: object) -> web.Response:
    """The document, with members of its own beside the standard ones; those that are None are left out."""
    title = web.Response(status=status).reason
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    document |= {name: value for name, value in members.items() if value is not None}
    return web.Response(status=status, body=orjson.dumps(document), content_type=PROBLEM)

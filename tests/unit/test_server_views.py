"""Which views of tables a job server gives up."""

from __future__ import annotations

import asyncio
import time

from headrace.app.server import views
from headrace.app.server.views import View, Views
from headrace.app.settings_sources import load_settings


def test_views_that_were_asked_longest_ago_are_given_up_where_all_take_too_much() -> None:
    async def run() -> list[str]:
        held = Views(load_settings({}))
        now = time.monotonic()
        for number in range(4):
            view = View(held._settings, held._admin, f"t{number}", held._stopping)
            view._bytes = views.VIEWS_BYTES_MAX // 2
            held._asked[f"t{number}"] = views._Asked(view, asyncio.Lock(), now - 10 + number)
        await held._asked["t0"].turn.acquire()  # it is being asked
        assert len(list(held._forgotten())) == 2
        kept = list(held._asked)
        held.close()
        return kept

    assert asyncio.run(run()) == ["t0", "t3"]

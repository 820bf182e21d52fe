"""The reference: a plain Faust agent, one event at a time, with a Faust table. Says what it used."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
import warnings
from typing import Any

from headrace.app.bench.cpu import peak_memory_mb
from headrace.app.bench.order import FaustOrder
from headrace.app.bench.process import say

warnings.simplefilter("ignore")
import faust  # noqa: E402


class Meter:
    """Counts events; says what they have used when the last one is done and its results are sent, and ends."""

    def __init__(self, app: Any, records: int) -> None:
        self._app = app
        self._records = records
        self._seen = 0
        self._started = (0.0, 0.0)

    async def count(self) -> None:
        if self._seen == 0:
            self._started = (time.process_time(), time.monotonic())
        self._seen += 1
        if self._seen == self._records:
            cpu_s, started_at = self._started
            await self._app.producer.flush()
            say(
                {
                    "cpu_s": time.process_time() - cpu_s,
                    "started_at": started_at,
                    "ended_at": time.monotonic(),
                    "memory_mb": peak_memory_mb(),
                }
            )
            os._exit(0)


def main() -> None:
    order = FaustOrder(**json.loads(sys.argv[1]))
    logging.basicConfig(level=logging.ERROR)
    app = faust.App(
        order.app,
        broker=f"kafka://{order.bootstrap}",
        store="memory://",
        topic_disable_leader=True,
        web_enabled=False,
        datadir=sys.argv[2],
        consumer_auto_offset_reset="earliest",
    )
    raw = {"value_type": bytes, "value_serializer": "raw", "key_type": bytes, "key_serializer": "raw"}
    source, sink = app.topic(order.source, **raw), app.topic(order.sink, **raw)
    meter = Meter(app, order.records)
    table = app.Table("groups", partitions=order.partitions)

    async def expensive(stream: Any) -> None:
        async for event in stream.events():
            value = json.loads(event.value)
            if value["price"] > 150:
                names = ("trader_id", "symbol", "price", "quantity")
                await sink.send(key=event.key, value=json.dumps({name: value[name] for name in names}).encode())
            await meter.count()

    async def grouped(stream: Any) -> None:
        async for event in stream.events():
            value = json.loads(event.value)
            symbol, price = value["symbol"], value["price"]
            n, quantity, low, high, total = table.get(symbol) or (0, 0, price, price, 0.0)
            n, quantity, total = n + 1, quantity + value["quantity"], total + price
            low, high = min(low, price), max(high, price)
            table[symbol] = (n, quantity, low, high, total)
            row = {"symbol": symbol, "n": n, "quantity": quantity, "low": low, "high": high, "mean": total / n}
            await sink.send(key=event.key, value=json.dumps(row).encode())
            await meter.count()

    app.agent(source)(expensive if order.workload == "W1" else grouped)

    async def run() -> None:
        await app.start()
        await app.wait_until_stopped()

    asyncio.run(run())


if __name__ == "__main__":
    main()

"""The reference: a plain Faust agent, one event at a time, with a Faust table. Prints its CPU time as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
import warnings

warnings.simplefilter("ignore")
import faust  # noqa: E402


def main() -> None:
    order = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.ERROR)
    app = faust.App(
        order["app"],
        broker=f"kafka://{order['bootstrap']}",
        store="memory://",
        topic_disable_leader=True,
        web_enabled=False,
        datadir=sys.argv[2],
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(order["source"], value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw")
    sink = app.topic(order["sink"], value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw")
    seen = 0
    started = (0.0, 0.0)

    def count() -> None:
        nonlocal seen, started
        if seen == 0:
            started = (time.process_time(), time.monotonic())
        seen += 1
        if seen == order["records"]:
            cpu_s, wall_s = time.process_time() - started[0], time.monotonic() - started[1]
            print(json.dumps({"cpu_s": cpu_s, "wall_s": wall_s}), flush=True)
            os._exit(0)

    if order["workload"] == "W1":

        @app.agent(source)
        async def expensive(stream):  # type: ignore[no-untyped-def]
            async for event in stream.events():
                value = json.loads(event.value)
                if value["price"] > 150:
                    names = ("trader_id", "symbol", "price", "quantity")
                    await sink.send(key=event.key, value=json.dumps({name: value[name] for name in names}).encode())
                count()

    else:
        table = app.Table("groups", partitions=order["partitions"])

        @app.agent(source)
        async def grouped(stream):  # type: ignore[no-untyped-def]
            async for event in stream.events():
                value = json.loads(event.value)
                symbol, price = value["symbol"], value["price"]
                n, quantity, low, high, total = table.get(symbol) or (0, 0, price, price, 0.0)
                n, quantity, total = n + 1, quantity + value["quantity"], total + price
                low, high = min(low, price), max(high, price)
                table[symbol] = (n, quantity, low, high, total)
                row = {"symbol": symbol, "n": n, "quantity": quantity, "low": low, "high": high, "mean": total / n}
                await sink.send(key=event.key, value=json.dumps(row).encode())
                count()

    async def run() -> None:
        await app.start()
        await app.wait_until_stopped()

    asyncio.run(run())


if __name__ == "__main__":
    main()

"""CPU time: what a process has used, and a measure of how fast this machine is at this moment."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from benchmarks.workloads import records


def process_s(pid: int) -> float:
    """User and system time of a process so far, in seconds, to a hundredth."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Trade(msgspec.Struct, gc=False):
    symbol: str | None
    price: float | None
    quantity: int | None


def plain_loop_us(count: int = 180_000) -> float:
    """CPU µs per record of a bare loop: decode batches of 18,000 records, count and sum by symbol."""
    batches = [[value for _, value in records("trades", 18_000)]] * (count // 18_000)
    decode = msgspec.json.Decoder(list[Trade]).decode
    groups: dict[str | None, list[float]] = {}
    started = time.process_time()
    for values in batches:
        for row in decode(b"[" + b",".join(values) + b"]"):
            group = groups.get(row.symbol)
            if group is None:
                group = groups[row.symbol] = [0, 0, 0.0]
            group[0] += 1
            group[1] += row.quantity or 0
            group[2] += row.price or 0.0
    return (time.process_time() - started) / count * 1e6

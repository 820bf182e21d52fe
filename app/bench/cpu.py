"""CPU time: what a process has used, and a measure of how fast this machine is at this moment."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path

import msgspec

from headrace.app.bench.workloads import records


def process_s(pid: int) -> float:
    """User and system time of a process so far, in seconds, to a hundredth."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory_mb() -> float:
    """Peak resident memory of this process (getrusage would count its parent's before the exec)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


class Trade(msgspec.Struct, gc=False):
    symbol: str | None
    price: float | None
    quantity: int | None


@lru_cache(1)
def _values() -> list[bytes]:
    return [value for _, value in records("trades", 18_000)]


def plain_loop_us(count: int = 180_000) -> float:
    """CPU µs per record of a bare loop: decode batches of 18,000 records, count and sum by symbol."""
    batches = [_values()] * (count // 18_000)
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

"""Fifty jobs on one server: how soon they run, and what they take while nothing comes."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.integration.edge_cluster import wait_until
from tests.integration.job_server import JobServerProcess

pytestmark = [pytest.mark.broker, pytest.mark.timeout(900)]

JOBS = 50
RUNNING_S = 600.0
SETTLED_S = 60.0
MEASURED_S = 30.0
MEMORY_MAX_MB = 24 * 1024
SQL = """\
CREATE STREAM trades (symbol VARCHAR, qty BIGINT) WITH (topic = '{name}-in', partitions = 1);
CREATE TABLE counts_{number} WITH (topic = '{name}-counts-{number}') AS
  SELECT symbol, COUNT(*) AS n FROM trades GROUP BY symbol;
"""


def children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def cpu_s(pids: Sequence[int]) -> float:
    """CPU time of the processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(pids: Sequence[int], kind: str) -> float:
    """Memory of the processes; `Pss` counts what they share once."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024


def test_fifty_idle_jobs_fit_on_a_machine(broker: str, tmp_path: Path) -> None:
    with JobServerProcess(broker, tmp_path) as server:
        began = time.monotonic()
        for number in range(JOBS):
            server.deploy(f"{server.name}-{number}", SQL.format(name=server.name, number=number))
        deployed_s = time.monotonic() - began

        def are_running() -> bool:
            return {job["state"] for job in server.answer("GET", "/jobs")["jobs"]} == {"running"}

        wait_until(are_running, "all jobs run", RUNNING_S)
        running_s = time.monotonic() - began
        workers = children(server.process.pid)
        assert len(workers) == JOBS
        pids = [server.process.pid, *workers]
        nothing = threading.Event()
        nothing.wait(SETTLED_S)
        before_s = cpu_s(pids)
        nothing.wait(MEASURED_S)
        share = (cpu_s(pids) - before_s) / MEASURED_S
        rss, pss = memory_mb(pids, "Rss"), memory_mb(pids, "Pss")
        sys.stdout.write(
            f"\n{JOBS} jobs: deployed after {deployed_s:.0f} s, all running after {running_s:.0f} s; idle: "
            f"{share:.0%} of a core, {rss:.0f} MB resident, {pss:.0f} MB with what they share counted once\n"
        )
        assert rss < MEMORY_MAX_MB
        assert server.stop() == 0

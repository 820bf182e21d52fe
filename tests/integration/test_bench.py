"""`headrace bench` on the real broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.app.cli import run_command

pytestmark = pytest.mark.broker


def test_workload_runs_from_topic_to_topic_with_the_same_result_in_both_modes(
    broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.jsonl"
    options = ["--layer", "kafka", "--partitions", "2", "--workers", "1,2", "--records", "2000", "--repeat", "1"]
    where = ["--bootstrap-servers", broker, "--output", str(file)]
    assert run_command(["bench", "run", "W2-latest", *options, *where]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["mode"], row["workers"]) for row in rows] == [("single", 1), ("partitioned", 1), ("partitioned", 2)]
    run, *measured = (json.loads(line) for line in file.read_text().splitlines())
    assert run["kind"] == "run"
    assert len({each["result"] for each in measured}) == 1
    for each in measured:
        assert sum(load["records"] for load in each["by_partition"]) == 2000
        assert each["cpu_us"] > 0
        assert each["broker_us"] is None

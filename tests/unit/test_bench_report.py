"""The report of benchmarks: tables between markers, the law of scalability, budgets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from headrace.agents.task import Task
from headrace.app.bench import budget, guard, plots, report, tables
from headrace.app.bench.case import Case
from headrace.app.bench.inputs import Inputs
from headrace.app.bench.layers import Layer
from headrace.app.bench.measured import Measured
from headrace.app.bench.measurements import (
    Budget,
    Closing,
    Latency,
    Measurement,
    PartitionLoad,
    Restore,
    Run,
    Step,
    Throughput,
)
from headrace.app.bench.scaling import Scalability, fitted
from headrace.app.bench.workloads import WORKLOADS
from headrace.app.errors import InputError
from headrace.sql.physical import Mode
from headrace.sql.runtime.records import RecordBatch

RUN = Run(
    command="headrace bench run",
    date="2026-01-02T03:04:05+00:00",
    commit="abc1234",
    machine={"cpu": "A CPU", "cores": 2, "memory_gib": 8, "system": "Linux", "kernel": "6.0"},
    versions={"python": "3.11", "headrace": "1.0"},
)


def throughput(scenario: str, mode: str, partitions: int, workers: int, **changed: object) -> Throughput:
    made = Throughput(
        scenario=scenario,
        layer="engine",
        mode=mode,
        partitions=partitions,
        workers=workers,
        records=1_000,
        guarantee=None,
        commit_interval_s=0.2,
        repeat=0,
        cpu_us=1.0 + 0.01 * (partitions - 1),
        wall_us=1.0 / workers,
        broker_us=None,
        plain_us=0.5,
        memory_mb=50.0,
        state_keys=10,
        state_bytes=1_000,
        by_partition=[PartitionLoad(partition=n, records=100, busy_s=0.001 * (n + 1)) for n in range(partitions)],
        result="same",
    )
    return msgspec.structs.replace(made, **changed)


def matrix() -> list[Measurement]:
    cases = [("single", 1), ("partitioned", 1), ("partitioned", 2)]
    engine: list[Measurement] = [
        throughput("S5-10", mode, partitions, workers)
        for partitions in (1, 2, 4, 8, 16)
        for mode, workers in cases
        if workers <= partitions
    ]
    kafka = {"layer": "kafka", "guarantee": "exactly_once", "broker_us": 0.25, "state_keys": None, "state_bytes": None}
    return [
        *engine,
        throughput("W1", "partitioned", 4, 1, cpu_us=2.0, **kafka),
        throughput("W3", "partitioned", 4, 1, cpu_us=4.0, **kafka),
        throughput("W1", "faust", 4, 1, cpu_us=200.0, result="other", **kafka),
        Latency(
            case="exactly_once, SELECT",
            guarantee="exactly_once",
            stages=1,
            rate=1_000,
            seconds=60,
            commit_interval_s=0.2,
            target_p99_ms=250.0,
            records=60_000,
            p50_ms=100.0,
            p95_ms=200.0,
            p99_ms=260.0,
            p999_ms=270.0,
            max_ms=280.0,
            plain_p50_ms=1.0,
            plain_p95_ms=2.0,
            plain_p99_ms=3.0,
            plain_p999_ms=4.0,
            plain_max_ms=5.0,
        ),
        Restore(
            keys=1_000_000,
            repeat=0,
            keys_per_s=500_000.0,
            cpu_us=2.0,
            held_us=1.0,
            plain_us=0.5,
            late_p50_ms=0.1,
            late_p99_ms=7.0,
            call_p50_ms=0.1,
            call_p99_ms=1.0,
        ),
        Closing(windows="sessions", rows=100_000, repeat=0, cpu_s=0.5, store_s=0.1, plain_us=0.5),
        Closing(windows="sessions", rows=100_000, repeat=1, cpu_s=1.5, store_s=0.1, plain_us=0.5),
        Closing(windows="sessions", rows=100_000, repeat=2, cpu_s=1.0, store_s=0.1, plain_us=0.5),
        Budget(
            scenario="W1",
            layer="kafka",
            partitions=4,
            records=1_000,
            steps=[Step(step=step, us=0.1) for step in budget.STEPS],
            total_us=1.1,
            plain_us=0.5,
        ),
    ]


def measured(directory: Path, measurements: Sequence[Measurement]) -> Measured:
    file = directory / "bench.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, [RUN, *measurements])))
    return report.read([file])


def page(directory: Path, measurements: Sequence[Measurement]) -> dict[str, str]:
    """The sections of a page that had all of them, each empty."""
    path = directory / report.PAGE
    path.write_text("# Baselines\n" + "".join(f"<!-- measured: {n} -->\nold\n<!-- end -->\n" for n in tables.SECTIONS))
    report.write(measured(directory, measurements), directory)
    text = path.read_text()
    assert "old" not in text
    return {match["name"]: match[0] for match in report.SECTION.finditer(text)}


def test_sections_hold_what_was_measured(tmp_path: Path) -> None:
    sections = page(tmp_path, matrix())
    assert "A CPU, 2 cores" in sections["machine"]
    assert "`abc1234`" in sections["machine"]
    assert "| S5-10, engine, 2 workers | 1,000,000 (42.2×) | 2,000,000 (10.5×) |" in sections["spec"]
    assert (
        "| S5-10 | 8 | 1,000,000 | 2.1 | 1,000,000 | 2.1 | 2,000,000 | 2.00 | 50 | 10 | 1,000 |" in sections["engine"]
    )
    assert "| S5-10 | engine | 2.00 | 0.99 | 0.97 | 0.93 | 0.87 | missed |" in sections["efficiency"]
    assert "| W1 | 2.00 (2.00–2.00) | 0.25 | 1,000,000 | 50 | 4.0 |  | 4.5 | met |" in sections["workloads"]
    assert "| W3 | 4.00 (4.00–4.00) | 0.25 | 1,000,000 | 50 | 8.0 |  | 6.0 | missed |" in sections["workloads"]
    assert "| W1 | 200 | 1,000,000 | 400 | 4.0 | 100 |" in sections["reference"]
    assert "| S5-10 | 16 | 100 to 100 | 6,250 |" in sections["by-partition"]
    assert "| 260.0 | 270.0 | 280.0 | 250 | missed | 1.0 | 3.0 |" in sections["latency"]
    assert "500,000 keys/s (to reach: 400,000, met)" in sections["restore"]
    assert "| sessions | 100,000 | 1.00 | missed | 20.0 | 0.10 |" in sections["closing"]
    assert "exactly_once, commits every 0.2 s:" in sections["workloads"]
    assert "<summary>17 cases</summary>" in sections["cases"]
    assert "| S5-10 | engine | partitioned | 8 | 2 | 1,000 | 2,000,000 | 1.07 (1.07–1.07) | 2.1 |" in sections["cases"]
    assert "| all |  | 1.10 |" in sections["budget"]


def test_each_run_stands_with_its_own_commit(tmp_path: Path) -> None:
    later = msgspec.structs.replace(RUN, command="headrace bench restore", commit="def5678")
    file = tmp_path / "two.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, [RUN, *matrix(), later])))
    (tmp_path / report.PAGE).write_text("<!-- measured: machine -->\n<!-- end -->\n")
    report.write(report.read([file]), tmp_path)
    text = (tmp_path / report.PAGE).read_text()
    assert "| 2026-01-02 03:04 | `abc1234` | `headrace bench run` |" in text
    assert "| 2026-01-02 03:04 | `def5678` | `headrace bench restore` |" in text
    assert text.count("A CPU, 2 cores") == 1


def test_report_can_be_made_again(tmp_path: Path) -> None:
    first = page(tmp_path, matrix())
    report.write(measured(tmp_path, matrix()), tmp_path)
    assert {m["name"]: m[0] for m in report.SECTION.finditer((tmp_path / report.PAGE).read_text())} == first


def test_results_that_differ_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="results of S5-10 differ: mode single with 1 partitions, mode single with 4"):
        measured(tmp_path, [throughput("S5-10", "single", 1, 1), throughput("S5-10", "single", 4, 1, result="another")])


def test_file_without_measurements_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to report"):
        measured(tmp_path, [])
    with pytest.raises(InputError, match="cannot be read"):
        report.read([tmp_path / "none.jsonl"])
    (tmp_path / "bad.jsonl").write_text('{"kind": "run"}\n')
    with pytest.raises(InputError, match=r"bad.jsonl, line 1 is no measurement"):
        report.read([tmp_path / "bad.jsonl"])


def test_file_that_does_not_begin_with_its_run_is_refused(tmp_path: Path) -> None:
    whole, headless = tmp_path / "whole.jsonl", tmp_path / "headless.jsonl"
    whole.write_bytes(b"\n".join(map(msgspec.json.encode, [RUN, *matrix()])))
    headless.write_bytes(msgspec.json.encode(matrix()[0]))
    with pytest.raises(InputError, match=r"headless.jsonl does not begin with the line"):
        report.read([whole, headless])


def test_guarantees_are_not_mixed_in_one_median(tmp_path: Path) -> None:
    runs = [
        throughput("W1", "partitioned", 4, 1, layer="kafka", guarantee="exactly_once"),
        throughput("W1", "partitioned", 4, 1, layer="kafka", guarantee="at_least_once"),
    ]
    with pytest.raises(InputError, match=r"exactly_once, commits every 0.2 s and with at_least_once"):
        measured(tmp_path, runs)


def test_efficiency_compares_runs_over_the_same_records(tmp_path: Path) -> None:
    # 1M records at 4 partitions beside 400k at 1, 4 and 16: what starts and ends a run weighs less in the longer one
    runs = [throughput("W3", "partitioned", n, 1, cpu_us=4.0, records=400_000) for n in (1, 4, 16)]
    longer = throughput("W3", "partitioned", 4, 1, cpu_us=2.0, records=1_000_000, result="of more records")
    found = measured(tmp_path, [*runs, longer])
    assert found.loops_by_partitions("engine", "W3") == {1: 8.0, 4: 8.0, 16: 8.0}
    assert found.medians("engine", "W3", "partitioned", 4, 1) == found.medians(
        "engine", "W3", "partitioned", 4, 1, 1_000_000
    )


def test_efficiency_is_missed_where_any_number_of_partitions_misses_it(tmp_path: Path) -> None:
    costs = {1: 1.0, 2: 1.0, 4: 2.0, 8: 1.0, 16: 1.0}
    runs = [throughput("S0", "partitioned", n, 1, cpu_us=cost) for n, cost in costs.items()]
    assert "| S0 | engine | 2.00 | 1.00 | 0.50 | 1.00 | 1.00 | missed |" in page(tmp_path, runs)["efficiency"]


def test_modes_are_compared_with_one_partition(tmp_path: Path) -> None:
    runs = [
        throughput(scenario, mode, n, 1, cpu_us=cost)
        for scenario in ("S0", "W3")
        for mode, n, cost in (("single", 1, 1.0), ("partitioned", 1, 1.2), ("partitioned", 4, 1.2))
    ]
    rows = page(tmp_path, runs)["efficiency"]
    assert "| S0 | engine | 2.40 |  | 1.00 |  |  | met | 1.20 | missed |" in rows
    assert "| W3 | engine | 2.40 |  | 1.00 |  |  | met | 1.20 |  |" in rows  # re-keys: no target


def test_every_table_has_as_many_cells_in_each_row(tmp_path: Path) -> None:
    for name, section in page(tmp_path, matrix()).items():
        cells = [line.count("|") for line in section.splitlines() if line.startswith("|")]
        assert len(set(cells)) <= 1, name


def test_section_of_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / report.PAGE).write_text("<!-- measured: nonsense -->\n<!-- end -->\n")
    with pytest.raises(InputError, match="section `nonsense`; known: machine"):
        report.write(measured(tmp_path, matrix()), tmp_path)


def test_plots_are_the_same_for_the_same_measurements(tmp_path: Path) -> None:
    found = measured(tmp_path, matrix())
    plots.draw(found, tmp_path / "a")
    plots.draw(found, tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["budget.svg", "efficiency.svg", "latency.svg", "projection.svg", "throughput.svg"]
    for name in names:
        text = (tmp_path / "a" / name).read_text()
        assert text == (tmp_path / "b" / name).read_text()
        assert "</svg>" in text


def test_plot_of_efficiency_shows_all_that_was_measured(tmp_path: Path) -> None:
    from matplotlib import pyplot

    runs = [throughput("S0", "partitioned", n, 1, cpu_us=1.0 / n) for n in (1, 2, 4, 8, 16)]
    figure, axes = pyplot.subplots()
    plots._efficiency(measured(tmp_path, runs), axes)
    assert axes.get_ylim()[1] >= 16
    pyplot.close(figure)


def test_law_is_found_again() -> None:
    law = Scalability(contention=0.02, coherency=0.0005)
    found = fitted({n: 3.0 * n / law.speed_up(n) for n in (1, 2, 4, 8, 16)})
    assert found.contention == pytest.approx(0.02)
    assert found.coherency == pytest.approx(0.0005)
    assert found.efficiency(8) == pytest.approx(law.speed_up(8) / 8)


@pytest.mark.parametrize("costs", [{1: 2.0, 2: 1.9, 4: 1.9, 8: 1.8, 16: 1.7}, {1: 2.0}])
def test_cost_that_falls_is_no_gain_of_more_cores(costs: dict[int, float]) -> None:
    assert fitted(costs).speed_up(64) == pytest.approx(64)


def test_steps_of_a_budget_add_up() -> None:
    case = Case(WORKLOADS["W1"], Layer.KAFKA, Mode.PARTITIONED, 4, 1, 1_000)
    steps = {"fetch": 0.001, "loop": 0.002, "rest": 5.0}
    made = budget.budget(case, {"steps": steps, "cpu_s": 0.01}, 0.5)
    assert sum(step.us for step in made.steps) == pytest.approx(made.total_us) == pytest.approx(10.0)
    assert {step.step: step.us for step in made.steps if step.us} == {"fetch": 1.0, "loop": 2.0, "rest": 7.0}


def test_threads_of_a_commit_belong_to_a_step() -> None:
    code = Path("agents/delivery.py").read_text() + Path("agents/commit.py").read_text()
    names = set(re.findall(r'thread_name_prefix="(\w+)"', code))
    assert {name: budget.step_of(f"{name}_0") for name in names} == {
        "flush": "produce",
        "transaction": "produce",
        "store": "store",
    }
    assert budget.step_of("blocking_0") == "rest"


def test_inner_step_is_no_part_of_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((0.0, 1.0, 3.0, 6.0, 10.0))
    monkeypatch.setattr(budget.time, "thread_time", lambda: next(clock))
    watch = budget.Stopwatch()  # at 0
    inner = watch.around("inner", lambda: "done")  # from 3 to 6
    assert watch.around("outer", inner)() == "done"  # from 1 to 10
    assert watch.used == {"rest": 1.0, "outer": 2.0 + 4.0, "inner": 3.0}


def test_guard_names_what_costs_more_than_its_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def cost(scenario: str, _inputs: object) -> float:
        asked.append(scenario)
        return {"W1": 1.0, "W3": 9.0}[scenario]

    monkeypatch.setattr(guard, "cost", cost)
    found = guard.slow({"W1": 2.0, "W3": 8.5}, Inputs(tmp_path))
    assert list(found) == ["W3 costs 9.0 plain loops a record, more than 8.5"]
    assert asked == ["W1", "W3", "W3"]
    assert set(guard.BOUNDS) == set(guard.CALLS) <= set(WORKLOADS)


def test_guard_finds_one_call_more_for_each_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inputs = Inputs(tmp_path)
    monkeypatch.setattr(guard, "CALLS_RECORDS", 2_000)
    usual = guard.calls("W1", inputs)
    assert guard.calls("W1", inputs) == pytest.approx(usual, abs=0.05)
    process = Task.process

    def slower(task: Task, batch: RecordBatch) -> None:
        for offset in batch.offsets:
            hash(offset)
        process(task, batch)

    monkeypatch.setattr(Task, "process", slower)
    assert guard.calls("W1", inputs) == pytest.approx(usual + 1, abs=0.05)
    bound = usual + 0.5
    (line,) = guard.many_calls({"W1": bound}, inputs)
    assert line.startswith("W1 makes ")


def test_every_section_of_the_page_is_known() -> None:
    text = Path("docs", report.PAGE).read_text()
    assert [match["name"] for match in report.SECTION.finditer(text)] == list(tables.SECTIONS)
    shown = re.findall(r"\]\(baselines/([\w-]+)\.svg\)", text)
    assert set(shown) == {"throughput", "efficiency", "projection", "budget", "latency"}

"""The tables of docs/baselines.md, each a function of all measurements, and what they are to reach."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from headrace.app.bench.budget import STEPS
from headrace.app.bench.measured import PARTITIONS, PARTITIONS_MOST, Measured
from headrace.app.bench.measurements import Run

SPEC = {"single": 23_700, "partitioned": 190_000}
"""Records/s that the spec gives for its own system, in a single partition and in eight."""
LOOP_US = 0.20
"""A plain loop's cost per record on the machine for which the targets were set."""
TARGETS_US = {"W1": 0.9, "W2-latest": 0.6, "W2-every": 1.7, "W2h": 5.0, "W3": 1.2}
"""To reach, topic to topic and exactly once."""
EFFICIENCY_MIN = 0.95
MODES_APART_MAX = 0.10
"""How far apart the modes may be with one partition, where no row is re-keyed."""
REKEYED = {"W2-rekeyed", "W3", "W4", "W5"}
RESTORE_MIN = 400_000
"""Keys/s."""
CLOSING_MAX_S = 1.0
CORES = (2, 8, 16, 64)
VERDICTS = {True: "met", False: "missed"}

Cell = object
"""What stands in a table: its text, nothing for None."""


def _table(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    return lines + [f"| {' | '.join('' if cell is None else str(cell) for cell in row)} |" for row in rows]


def _machine(measured: Measured) -> list[str]:
    rows = [[run.date[:16].replace("T", " "), f"`{run.commit}`", f"`{run.command}`"] for run in measured.runs]
    return [
        *dict.fromkeys(map(_environment, measured.runs)),
        f"A plain loop cost {_plain(measured)} µs a record.",
        "",
        *_table(("begun (UTC)", "commit", "command"), rows),
    ]


def _environment(run: Run) -> str:
    machine = run.machine
    versions = ", ".join(f"{name} {number}" for name, number in run.versions.items())
    hardware = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    return f"{hardware}, {machine['system']}, Linux {machine['kernel']}; {versions}."


def _plain(measured: Measured) -> str:
    costs = sorted(run.plain_us for run in measured.throughput)
    return f"{costs[0]:.2f} to {costs[-1]:.2f} (median {statistics.median(costs):.2f})"


def _spec(measured: Measured) -> list[str]:
    rows: list[list[Cell]] = []
    for layer in ("engine", "kafka"):
        for scenario in measured.scenarios(layer):
            if not scenario.startswith("S5"):
                continue
            single = measured.medians(layer, scenario, "single", PARTITIONS, 1)
            for workers in (1, 2):
                many = measured.medians(layer, scenario, "partitioned", PARTITIONS, workers)
                if single is None or many is None:
                    continue
                rows.append(
                    [
                        f"{scenario}, {layer}, {workers} worker{'s' * (workers > 1)}",
                        f"{single.per_s:,.0f} ({single.per_s / SPEC['single']:.1f}×)",
                        f"{many.per_s:,.0f} ({many.per_s / SPEC['partitioned']:.1f}×)",
                    ]
                )
    head = (
        "scenario",
        "single, records/s (over the spec's 23,700)",
        "partitioned (over the spec's 190,000)",
    )
    return _table(head, rows)


def _engine(measured: Measured) -> list[str]:
    rows: list[list[Cell]] = []
    for scenario in measured.scenarios("engine"):
        numbers = {t.partitions for t in measured.throughput if (t.layer, t.scenario) == ("engine", scenario)}
        partitions = PARTITIONS if PARTITIONS in numbers else max(numbers)
        single = measured.medians("engine", scenario, "single", partitions, 1)
        one = measured.medians("engine", scenario, "partitioned", partitions, 1)
        two = measured.medians("engine", scenario, "partitioned", partitions, 2)
        if single is None or one is None:
            continue
        rows.append(
            [
                scenario,
                partitions,
                f"{single.per_s:,.0f}",
                f"{single.loops:.1f}",
                f"{one.per_s:,.0f}",
                f"{one.loops:.1f}",
                None if two is None else f"{two.per_s:,.0f}",
                None if two is None else f"{two.per_s / one.per_s:.2f}",
                f"{one.memory_mb:.0f}",
                f"{one.state_keys:,}" if one.state_keys is not None else None,
                f"{one.state_bytes:,}" if one.state_bytes is not None else None,
            ]
        )
    head = ("scenario", "partitions", "single, records/s", "loops", "partitioned, 1 worker", "loops")
    more = ("2 workers", "over 1", "peak MB", "keys of state", "bytes")
    return _table((*head, *more), rows)


def _efficiency(measured: Measured) -> list[str]:
    rows: list[list[Cell]] = []
    for layer in ("engine", "kafka"):
        for scenario in measured.scaled(layer):
            loops = measured.loops_by_partitions(layer, scenario)
            cells = [f"{loops[1] / loops[n]:.2f}" if n in loops else None for n in (2, 4, 8, PARTITIONS_MOST)]
            least = loops[1] / max(loops.values())
            single = measured.medians(layer, scenario, "single", 1, 1, measured.scaled_records(layer, scenario))
            apart = None if single is None else loops[1] / single.loops
            rows.append(
                [
                    scenario,
                    layer,
                    f"{loops[1]:.2f}",
                    *cells,
                    VERDICTS[least >= EFFICIENCY_MIN],
                    None if apart is None else f"{apart:.2f}",
                    None if apart is None or scenario in REKEYED else VERDICTS[abs(apart - 1) <= MODES_APART_MAX],
                ]
            )
    head = ("scenario", "layer", "loops at 1 partition", "2", "4", "8", "16", f"≥ {EFFICIENCY_MIN}")
    return _table((*head, "partitioned over single, 1 partition", f"within {MODES_APART_MAX:.0%}"), rows)


def _cases(measured: Measured) -> list[str]:
    """All that `headrace bench run` has measured, by case."""
    cases = dict.fromkeys(
        (t.layer, t.scenario, t.mode, t.partitions, t.workers, t.records) for t in measured.throughput
    )
    rows: list[list[Cell]] = []
    for layer, scenario, mode, partitions, workers, records in cases:
        found = measured.medians(layer, scenario, mode, partitions, workers, records)
        assert found is not None
        rows.append(
            [
                scenario,
                layer,
                mode,
                partitions,
                workers,
                f"{records:,}",
                f"{found.per_s:,.0f}",
                f"{found.cpu_us:.2f} ({found.cpu_us_min:.2f}–{found.cpu_us_max:.2f})",
                f"{found.loops:.1f}",
                None if found.broker_us is None else f"{found.broker_us:.2f}",
                f"{found.memory_mb:.0f}",
                None if found.state_keys is None else f"{found.state_keys:,}",
                None if found.state_bytes is None else f"{found.state_bytes:,}",
            ]
        )
    head = ("scenario", "layer", "mode", "partitions", "workers", "records", "records/s", "CPU µs/record", "loops")
    # GitHub wants a blank line between the tag and the table.
    head_and_rows = _table((*head, "broker µs/record", "peak MB", "keys of state", "bytes"), rows)
    return ["<details>", f"<summary>{len(rows)} cases</summary>", "", *head_and_rows, "", "</details>"]


def _projection(measured: Measured) -> list[str]:
    rows: list[list[Cell]] = []
    for scenario in measured.scaled("engine"):
        law = measured.law("engine", scenario)
        speed_up = measured.speed_up(scenario)
        rows.append(
            [
                scenario,
                f"{law.contention:.4f}",
                f"{law.coherency:.5f}",
                None if speed_up is None else f"{speed_up:.2f}",
                *(f"{law.speed_up(cores):.1f}" for cores in CORES),
            ]
        )
    head = ("scenario", "contention σ", "coherency κ", "measured with 2 workers", *(f"{n} cores" for n in CORES))
    return _table(head, rows)


def _workloads(measured: Measured) -> list[str]:
    rows: list[list[Cell]] = []
    for scenario in measured.scenarios("kafka"):
        found = measured.medians("kafka", scenario, "partitioned", 4, 1)
        if found is None:
            continue
        engine = measured.medians("engine", scenario, "partitioned", 4, 1)
        target = TARGETS_US.get(scenario)
        rows.append(
            [
                scenario,
                f"{found.cpu_us:.2f} ({found.cpu_us_min:.2f}–{found.cpu_us_max:.2f})",
                None if found.broker_us is None else f"{found.broker_us:.2f}",
                f"{found.per_s:,.0f}",
                f"{found.memory_mb:.0f}",
                f"{found.loops:.1f}",
                None if engine is None else f"{engine.loops:.1f}",
                None if target is None else f"{target / LOOP_US:.1f}",
                None if target is None else VERDICTS[found.loops <= target / LOOP_US],
                None if target is None else f"{target:.1f}",
            ]
        )
    head = ("scenario", "CPU µs/record", "broker µs/record", "records/s", "peak MB", "in plain loops")
    table = _table((*head, "engine alone", "to reach", "", f"in µs, where a loop costs {LOOP_US:.2f}"), rows)
    promised = [run.promise for run in measured.throughput if run.promise is not None]
    return [f"{promised[0]}:", "", *table] if promised else table


def _reference(measured: Measured) -> list[str]:
    rows: list[list[Cell]] = []
    for scenario in dict.fromkeys(t.scenario for t in measured.throughput if t.mode == "faust"):
        faust = measured.medians("kafka", scenario, "faust", 4, 1)
        ours = measured.medians("kafka", scenario, "partitioned", 4, 1)
        if faust is None or ours is None:
            continue
        rows.append(
            [
                scenario,
                f"{faust.cpu_us:.0f}",
                f"{faust.per_s:,.0f}",
                f"{faust.loops:.0f}",
                f"{ours.loops:.1f}",
                f"{faust.loops / ours.loops:.0f}",
            ]
        )
    head = ("scenario", "Faust, CPU µs/record", "records/s", "in plain loops", "Headrace, in plain loops", "times less")
    return _table(head, rows)


def _by_partition(measured: Measured) -> list[str]:
    rows: list[list[Cell]] = []
    for scenario in measured.scaled("engine"):
        most = max(measured.loops_by_partitions("engine", scenario))
        wanted = ("engine", scenario, "partitioned", most, 1)
        run = next(r for r in measured.throughput if (r.layer, r.scenario, r.mode, r.partitions, r.workers) == wanted)
        speeds = sorted(load.records / load.busy_s for load in run.by_partition if load.busy_s and load.records)
        if speeds:
            records = sorted(load.records for load in run.by_partition)
            rows.append(
                [
                    scenario,
                    len(run.by_partition),
                    f"{records[0]:,} to {records[-1]:,}",
                    f"{speeds[0]:,.0f}",
                    f"{statistics.median(speeds):,.0f}",
                    f"{speeds[-1]:,.0f}",
                ]
            )
    head = ("scenario", "partitions", "records of each", "slowest, records per CPU second", "median", "fastest")
    return _table(head, rows)


def _latency(measured: Measured) -> list[str]:
    rows = [
        [
            each.case,
            *(f"{ms:.1f}" for ms in (each.p50_ms, each.p95_ms, each.p99_ms, each.p999_ms, each.max_ms)),
            f"{each.target_p99_ms:.0f}",
            VERDICTS[each.p99_ms <= each.target_p99_ms],
            f"{each.plain_p50_ms:.1f}",
            f"{each.plain_p99_ms:.1f}",
        ]
        for each in measured.latency
    ]
    head = ("case", "p50", "p95", "p99", "p99.9", "max", "p99 to reach", "", "plain reader p50", "p99")
    return _table(head, rows)


def _restore(measured: Measured) -> list[str]:
    if not measured.restore:
        return []
    runs = measured.restore
    rate, cpu = (statistics.median(getattr(run, name) for run in runs) for name in ("keys_per_s", "cpu_us"))
    loops = statistics.median(run.cpu_us / run.plain_us for run in runs)
    late = statistics.median(run.late_p99_ms for run in runs)
    reached = f"to reach: {RESTORE_MIN:,}, {VERDICTS[rate >= RESTORE_MIN]}"
    return [
        f"{runs[0].keys:,} keys, median of {len(runs)} runs: {rate:,.0f} keys/s ({reached}), {cpu:.2f} µs of",
        f"CPU a key, {loops:.1f} plain loops. A task of the main loop woke up late by {late:.1f} ms (p99) beside it.",
    ]


def _closing(measured: Measured) -> list[str]:
    rows: list[list[Cell]] = []
    for name in dict.fromkeys(each.windows for each in measured.closing):
        runs = [each for each in measured.closing if each.windows == name]
        cpu_s, store_s = (statistics.median(getattr(run, part) for run in runs) for part in ("cpu_s", "store_s"))
        loops = statistics.median(run.cpu_s * 1e6 / run.rows / run.plain_us for run in runs)
        rows.append(
            [
                name,
                f"{runs[0].rows:,}",
                f"{cpu_s:.2f}",
                VERDICTS[cpu_s < CLOSING_MAX_S],
                f"{loops:.1f}",
                f"{store_s:.2f}",
            ]
        )
    head = ("windows", "rows", "CPU s", f"to reach: {CLOSING_MAX_S:.0f}", "plain loops a row", "store, CPU s")
    return _table(head, rows) if rows else []


def _budget(measured: Measured) -> list[str]:
    newest = {each.scenario: each for each in measured.budget}
    steps = {name: {step.step: step.us for step in each.steps} for name, each in newest.items()}
    rows: list[list[Cell]] = [
        [step, what, *(f"{steps[name].get(step, 0):.2f}" for name in newest)] for step, what in STEPS.items()
    ]
    rows.append(["all", "", *(f"{each.total_us:.2f}" for each in newest.values())])
    rows.append(["in plain loops", "", *(f"{each.total_us / each.plain_us:.1f}" for each in newest.values())])
    return _table(("step", "", *newest), rows)


SECTIONS: dict[str, Callable[[Measured], list[str]]] = {
    "machine": _machine,
    "spec": _spec,
    "engine": _engine,
    "efficiency": _efficiency,
    "by-partition": _by_partition,
    "projection": _projection,
    "workloads": _workloads,
    "reference": _reference,
    "budget": _budget,
    "latency": _latency,
    "restore": _restore,
    "closing": _closing,
    "cases": _cases,
}

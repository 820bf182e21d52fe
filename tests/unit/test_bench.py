"""`headrace bench`: workloads and their checks, results that are compared, the engine layer, and what is refused."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import msgspec
import pytest

from headrace.agents.config import Guarantee
from headrace.agents.partitioner import DefaultPartitioner
from headrace.app.application import App
from headrace.app.bench import closing, engine_layer, latency, throughput
from headrace.app.bench.case import Case, UsedBy, measured
from headrace.app.bench.engine import Engine, Log, Rows, Share, Usage, results_log
from headrace.app.bench.inputs import SOURCE, Inputs, Partition, in_turn
from headrace.app.bench.layers import Layer
from headrace.app.bench.measurements import Measurement, Output, Run, Throughput
from headrace.app.bench.pacer import due_times
from headrace.app.bench.results import Results
from headrace.app.bench.throughput import Agreement, Plan, WrongResultError, table
from headrace.app.bench.workloads import WORKLOADS, Outcome, passing, records, totals
from headrace.app.cli import run_command
from headrace.app.commands.bench import counts
from headrace.app.errors import UsageError
from headrace.sql.physical import Mode

COUNT = 2_500
PARTITIONS = 3


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"))


def run_engine(name: str, mode: Mode, inputs: Inputs, directory: Path, count: int = COUNT) -> tuple[Usage, Results]:
    """One run of a workload in this process, with cuts after each batch."""
    directory.mkdir()
    workload = WORKLOADS[name]
    app = App(workload.sql.replace("{source}", SOURCE).replace("{sink}", "sink"), "bench")
    path = inputs.path(workload.source, count, PARTITIONS)
    partitions = [Partition(path, number) for number in range(PARTITIONS)]
    usage = Engine(app, mode, PARTITIONS, Share(), directory, commit_interval_s=0.0).run(partitions)
    results = workload.new_results
    for rows in results_log(directory, 0).news():
        results.add(rows.keys, rows.values)
    return usage, results


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_has_the_right_result_and_the_same_in_both_modes(
    name: str, inputs: Inputs, tmp_path: Path
) -> None:
    digests = set()
    for mode in Mode:
        usage, results = run_engine(name, mode, inputs, tmp_path / mode)
        assert WORKLOADS[name].check(COUNT, results) is None
        assert sum(use.records for use in usage.by_partition) == COUNT
        digests.add(results.digest)
    assert len(digests) == 1


@pytest.mark.parametrize("name", WORKLOADS)
def test_check_finds_a_record_too_few(name: str, inputs: Inputs, tmp_path: Path) -> None:
    _, results = run_engine(name, Mode.SINGLE, inputs, tmp_path / "run")
    assert WORKLOADS[name].check(COUNT + 1_000, results) is not None


def test_engine_says_what_its_state_was(inputs: Inputs, tmp_path: Path) -> None:
    usage, _ = run_engine("W2-latest", Mode.PARTITIONED, inputs, tmp_path / "run")
    assert usage.state_keys == 200
    assert usage.state_bytes > 200 * 10
    assert usage.cpu_s > 0
    assert usage.ended_at > usage.started_at


def test_two_workers_share_the_partitions_and_agree_with_one(inputs: Inputs) -> None:
    found = {}
    for workers in (1, 2):
        case = Case(WORKLOADS["W2-rekeyed"], Layer.ENGINE, Mode.PARTITIONED, PARTITIONS, workers, COUNT)
        ((measurement, results),) = engine_layer.runs(case, inputs, 0.2, 1)
        assert case.workload.check(COUNT, results) is None
        assert [load.partition for load in measurement.by_partition] == [0, 1, 2]
        assert sum(load.records for load in measurement.by_partition) == COUNT
        found[workers] = measurement
    assert found[1].result == found[2].result
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("kind", closing.KINDS, ids=lambda kind: kind.name)
def test_all_windows_close_at_once_and_not_before(kind: closing.Kind, tmp_path: Path) -> None:
    made = closing.close(kind, 50, 0, tmp_path)
    assert made.rows == 50 + (5 if "hopping" in kind.name else 0)
    assert made.cpu_s > 0


# Records


def test_trades_are_96_to_98_bytes_and_their_prices_quarters() -> None:
    values = [value for _, value in records("trades", 1_000)]
    assert {len(value) for value in values} == {96, 97, 98}
    assert {json.loads(value)["price"] * 4 % 1 for value in values} == {0.0}


def test_passing_counts_what_the_filter_lets_through() -> None:
    prices = [json.loads(value)["price"] for _, value in records("trades", 1_234)]
    assert passing(1_234) == sum(price > 150 for price in prices)


def test_totals_are_the_sums_of_the_values() -> None:
    sums: dict[str, int] = {}
    for key, value in records("values-50", 777):
        row = json.loads(value)
        assert key.decode() == row["group_id"]
        sums[row["group_id"]] = sums.get(row["group_id"], 0) + row["value"]
    assert totals(50, 777) == sums
    assert len(sums) == 50


@pytest.mark.parametrize(("kind", "groups"), [("values-10", 10), ("values-100", 100), ("trades", 200)])
def test_keys_of_a_kind_are_its_groups(kind: str, groups: int) -> None:
    assert len({key for key, _ in records(kind, 10_000)}) == groups


def test_input_holds_each_record_once_in_order_in_the_partition_of_its_key(tmp_path: Path) -> None:
    path = Inputs(tmp_path).path("trades", 30_000, 2)
    partitioner = DefaultPartitioner(2)
    expected: list[list[bytes]] = [[], []]
    for key, value in records("trades", 30_000):
        expected[partitioner.partition(key)].append(value)
    for number in range(2):
        values: list[bytes | None] = []
        for fetched in Partition(path, number).batches():
            assert fetched.fetch_offset == len(values)
            for part in fetched.parts():
                values += part.values
        assert values == expected[number]


def test_input_is_made_once(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path)
    first = inputs.path("trades", 100, 1)
    written = (first / "0.records").stat().st_mtime_ns
    assert inputs.path("trades", 100, 1) == first
    assert (first / "0.records").stat().st_mtime_ns == written


def test_partitions_are_read_in_turn(inputs: Inputs) -> None:
    path = inputs.path("trades", COUNT, PARTITIONS)
    partitions = [Partition(path, number) for number in range(PARTITIONS)]
    assert [batch.partition for batch in in_turn(partitions, 10)] == [0, 1, 2]
    assert sum(len(part.values) for batch in in_turn(partitions, 10) for part in batch.parts()) == 30


def test_log_gives_each_row_once_and_waits_for_the_rest_of_one_half_written(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    assert list(log.news()) == []
    rows = Rows("topic", 1, [None], [b"value"])
    Log(tmp_path / "log").append([rows, rows])
    assert list(log.news()) == [rows, rows]
    assert list(log.news()) == []
    data = (tmp_path / "log").read_bytes()
    with (tmp_path / "log").open("ab") as file:
        file.write(data[:-1])
    assert list(log.news()) == []
    with (tmp_path / "log").open("ab") as file:
        file.write(data[-1:])
    assert list(log.news()) == [rows, rows]


# Results


def digest_of(outcome: Outcome, *pairs: tuple[bytes | None, bytes | None]) -> str:
    results = Results(by_key=outcome is Outcome.TABLE)
    results.add([key for key, _ in pairs], [value for _, value in pairs])
    return results.digest


def test_digest_of_rows_is_that_of_any_order_and_counts_each() -> None:
    rows: list[tuple[bytes | None, bytes | None]] = [(b"a", b"1"), (b"b", b"2"), (None, b"3")]
    assert digest_of(Outcome.ROWS, *rows) == digest_of(Outcome.ROWS, *reversed(rows))
    assert digest_of(Outcome.ROWS, *rows) != digest_of(Outcome.ROWS, *rows, rows[0])
    assert digest_of(Outcome.ROWS, (b"ab", b"c")) != digest_of(Outcome.ROWS, (b"a", b"bc"))
    assert digest_of(Outcome.ROWS, (None, b"c")) != digest_of(Outcome.ROWS, (b"", b"c"))


def test_digest_of_a_table_is_that_of_the_last_row_of_each_key() -> None:
    assert digest_of(Outcome.TABLE, (b"a", b"1"), (b"b", b"2"), (b"a", b"3")) == digest_of(
        Outcome.TABLE, (b"b", b"2"), (b"a", b"3")
    )
    assert digest_of(Outcome.TABLE, (b"a", b"1")) != digest_of(Outcome.TABLE, (b"a", b"2"))


def a_case(mode: str = Mode.PARTITIONED, records: int = 1_000) -> Case:
    return Case(WORKLOADS["W2-latest"], Layer.ENGINE, mode, 2, 1, records)


def test_results_that_differ_are_told_with_both_runs() -> None:
    agreement = Agreement()
    agreement.check(a_case(Mode.SINGLE), "aa")
    agreement.check(a_case(records=2_000), "bb")
    agreement.check(a_case(), "aa")
    with pytest.raises(WrongResultError, match=r"single.* gave aa.*partitioned.* gave bb") as raised:
        agreement.check(a_case(), "bb")
    assert raised.value.exit_code == 1


def test_a_difference_ends_the_command_with_1_after_it_was_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def runs(case: Case, inputs: Inputs, interval_s: float, repeat: int) -> Iterator[tuple[Throughput, Results]]:
        results = case.workload.new_results
        price = b"1" if case.mode == Mode.SINGLE else b"2"
        results.add([b"S"], [b'{"symbol":"S","n":%d,"low":%b}' % (case.records, price)])
        yield measured(case, None, 0.2, 0, USED, results), results

    monkeypatch.setattr(engine_layer, "runs", runs)
    file = tmp_path / "out" / "bench.jsonl"
    arguments = ["W2-latest", "--partitions", "1", "--workers", "1", "--records", "10", "--output", str(file)]
    assert run_command(["bench", "run", *arguments]) == 1
    assert "results differ" in capsys.readouterr().err
    kinds = [json.loads(line)["kind"] for line in file.read_text().splitlines()]
    assert kinds == ["run", "throughput", "throughput"]


# Measurements

USED = UsedBy(
    [
        {
            "cpu_s": 0.001,
            "started_at": 10.0,
            "ended_at": 10.004,
            "memory_mb": 100.25,
            "state_keys": 3,
            "state_bytes": 30,
            "by_partition": [{"partition": 1, "records": 400, "busy_s": 0.0005}],
        },
        {
            "cpu_s": 0.003,
            "started_at": 10.001,
            "ended_at": 10.005,
            "memory_mb": 50.0,
            "state_keys": 4,
            "state_bytes": 40,
            "by_partition": [{"partition": 0, "records": 600, "busy_s": 0.002}],
        },
    ],
    0.01,
    0.25,
)


def test_measurement_is_written_in_the_agreed_shape(tmp_path: Path) -> None:
    results = Results(by_key=True)
    output = Output(tmp_path / "bench.jsonl", "headrace bench run")
    output.write(measured(a_case(), Guarantee.EXACTLY_ONCE, 0.2, 1, USED, results))
    first, second = (tmp_path / "bench.jsonl").read_text().splitlines()
    run = msgspec.json.decode(first, type=Run)
    assert run.command == "headrace bench run"
    assert set(run.versions) >= {"headrace", "python", "kafka"}
    assert json.loads(second) == {
        "kind": "throughput",
        "scenario": "W2-latest",
        "layer": "engine",
        "mode": "partitioned",
        "partitions": 2,
        "workers": 1,
        "records": 1_000,
        "guarantee": "exactly_once",
        "commit_interval_s": 0.2,
        "repeat": 1,
        "cpu_us": 4.0,
        "wall_us": 5.0,
        "broker_us": 10.0,
        "plain_us": 0.25,
        "memory_mb": 150.2,
        "state_keys": 7,
        "state_bytes": 70,
        "by_partition": [
            {"partition": 0, "records": 600, "busy_s": 0.002},
            {"partition": 1, "records": 400, "busy_s": 0.0005},
        ],
        "result": results.digest,
    }
    assert isinstance(msgspec.json.decode(second, type=Measurement), Throughput)


def test_what_a_worker_does_not_know_is_null() -> None:
    used = UsedBy([{"cpu_s": 0.001, "started_at": 1.0, "ended_at": 2.0, "memory_mb": 1.0}], None, 0.25)
    measurement = measured(a_case(), None, None, 0, used, Results(by_key=True))
    assert (measurement.broker_us, measurement.state_keys, measurement.by_partition) == (None, None, [])


def test_table_has_a_row_of_medians_for_each_case() -> None:
    runs = [
        msgspec.structs.replace(
            measured(a_case(mode), None, 0.2, number, USED, Results(by_key=True)), cpu_us=cost, broker_us=None
        )
        for mode in Mode
        for number, cost in enumerate((3.0, 1.0, 2.0))
    ]
    rows = table(runs)
    assert [row["mode"] for row in rows] == list(Mode)
    assert [(row["cpu_us"], row["cpu_us_min"], row["cpu_us_max"]) for row in rows] == [(2.0, 1.0, 3.0)] * 2
    assert rows[0]["plain_loops"] == 8.0
    assert rows[0]["records_per_s"] == 200_000
    assert rows[0]["broker_us"] is None


# Latency


def test_records_are_given_out_when_due_and_not_before() -> None:
    due = list(islice(due_times(1_000, 3), 3))
    assert [later - earlier for earlier, later in pairwise(due)] == [1_000, 1_000]


def test_latency_counts_from_when_a_record_was_due_and_only_in_the_measured_time() -> None:
    due, read = [0, 1_000_000, 1_500_000, 2_000_000], [50, 1_000_300, 1_500_001, 2_000_009]
    assert latency.latencies_us((due, read), 1_000_000, 1) == [300, 1]


def test_percentiles_are_those_of_the_histogram() -> None:
    histogram = latency.histogram_type()(1, latency.HIGHEST_US, latency.DIGITS)
    for value_ms in range(1, 1_001):
        histogram.record_value(value_ms * 1_000)
    found = latency.percentiles_ms(histogram, "plain_")
    assert found["plain_p50_ms"] == pytest.approx(500, rel=0.002)
    assert found["plain_p999_ms"] == pytest.approx(999, rel=0.002)
    assert found["plain_max_ms"] == pytest.approx(1_000, rel=0.002)


# Usage


def plan(**changes: object) -> Plan:
    given: dict[str, object] = {
        "scenarios": ["W1"],
        "layers": [Layer.ENGINE],
        "modes": list(Mode),
        "partitions": [1, 2],
        "workers": [1, 2],
        "records": 100,
        "repeat": 1,
        "guarantee": Guarantee.EXACTLY_ONCE,
        "commit_interval_s": 0.2,
    }
    return Plan(**given | changes)  # type: ignore[arg-type]


def test_single_has_one_worker_and_partitioned_at_most_one_for_each_partition() -> None:
    cases = [(case.mode, case.partitions, case.workers) for case in plan().cases]
    assert sorted(cases) == [
        ("partitioned", 1, 1),
        ("partitioned", 2, 1),
        ("partitioned", 2, 2),
        ("single", 1, 1),
        ("single", 2, 1),
    ]
    with pytest.raises(UsageError, match="nothing is left to measure"):
        _ = plan(partitions=[1], workers=[2]).cases


def test_counts_are_whole_numbers_between_commas() -> None:
    assert counts("--partitions", "1,4,4,16", 64) == [1, 4, 16]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "W2-lates"], "no scenario is called `W2-lates`"),
        (["run", "W2-lates"], "did you mean `W2-latest`?"),
        (["run", "--partitions", "1,x"], "--partitions: '1,x' is no list of whole numbers"),
        (["run", "--partitions", "0"], "--partitions: 0 is not from 1 to 64"),
        (["run", "--workers", "99"], "--workers: 99 is not from 1 to 8"),
        (["run", "--reference"], "--reference goes with --layer kafka"),
        (["run", "--broker-pid", "1"], "--broker-pid goes with --layer kafka"),
        (["run", "--set", "kafka.client.id=x"], "takes no kafka."),
        (["run", "--commit-interval", "soon"], "soon"),
        (["run", "--records", "10000001"], "--records"),
        (["steady", "S9"], "no scenario is called `S9`"),
        (["guarantees", "W2x"], "no scenario is called `W2x`"),
        (["restore", "--broker-pid", "1"], "--broker-pid goes with --bootstrap-servers"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADRACE_BOOTSTRAP_SERVERS", raising=False)
    assert run_command(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_scenarios_are_all_where_none_is_named() -> None:
    assert throughput.checked_scenarios([]) == list(WORKLOADS)
    assert throughput.checked_scenarios(["W1", "W1"]) == ["W1"]

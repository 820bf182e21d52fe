"""`headrace bench`: what records cost here, measured."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.agents.config import Guarantee
from headrace.app.bench.layers import Layer
from headrace.app.errors import UsageError
from headrace.app.invocation import Invocation
from headrace.app.output import progress, show_rows
from headrace.sql.physical import Mode

if TYPE_CHECKING:
    from headrace.app.bench.measurements import Measurement
    from headrace.app.settings import Settings

commands = typer.Typer(help="Benchmarks: what a record costs on this machine, each run checked.", no_args_is_help=True)

OutputOption = Annotated[
    Path | None, typer.Option(metavar="FILE.jsonl", help="Append each measurement as a line of JSON.")
]
BrokerPid = Annotated[int | None, typer.Option(min=1, help="Process of that broker: its CPU time is measured too.")]
GuaranteeOption = Annotated[Guarantee | None, typer.Option(help="What the worker promises. [default: exactly_once]")]
CommitInterval = Annotated[str | None, typer.Option(metavar="200ms", help="Time between commits. [default: 200ms]")]
Records = Annotated[int, typer.Option(min=1, max=10_000_000, help="Source records of each run.")]
Repeat = Annotated[int, typer.Option(min=1, max=100, help="Runs of each case.")]


@commands.command()
def run(
    context: typer.Context,
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]…", help="S0 to S5-100, W1 to W5; all by default.")
    ] = None,
    layer: Annotated[
        list[Layer] | None, typer.Option(help="Without a broker, or topic to topic; repeatable. [default: engine]")
    ] = None,
    mode: Annotated[list[Mode] | None, typer.Option(help="Repeatable; both by default.")] = None,
    partitions: Annotated[str, typer.Option(metavar="N,N…", help="Partitions of the source.")] = "1,2,4,8,16",
    workers: Annotated[str, typer.Option(metavar="N,N…", help="Worker processes, in mode partitioned.")] = "1,2",
    records: Records = 100_000,
    repeat: Repeat = 3,
    guarantee: GuaranteeOption = None,
    commit_interval: CommitInterval = None,
    reference: Annotated[
        bool,
        typer.Option("--reference/--no-reference", help="A plain Faust agent too (layer kafka)."),
    ] = False,
    output: OutputOption = None,
    broker_pid: BrokerPid = None,
) -> None:
    """Measure CPU time, throughput, memory and state of each scenario in each mode, and compare the results.

    Exit code 1 where the output of a run is wrong, or single and partitioned differ.
    """
    from headrace.app.bench import throughput
    from headrace.app.bench.order import REFERENCES

    settings, bootstrap = _settings(context, guarantee, commit_interval)
    layers = layer or [Layer.ENGINE]
    if reference and Layer.KAFKA not in layers:
        raise UsageError("--reference goes with --layer kafka: a Faust agent needs a broker")
    if Layer.KAFKA not in layers and broker_pid is not None:
        raise UsageError("--broker-pid goes with --layer kafka")
    plan = throughput.Plan(
        throughput.checked_scenarios(scenarios or ()),
        list(dict.fromkeys(layers)),
        list(dict.fromkeys(mode or Mode)),
        counts("--partitions", partitions, throughput.PARTITIONS_MAX),
        counts("--workers", workers, throughput.WORKERS_MAX),
        records,
        repeat,
        settings.guarantee,
        settings.commit_interval.total_seconds(),
        REFERENCES if reference else (),
        bootstrap,
        broker_pid,
    )
    total = (len(plan.cases) + len(plan.reference_cases)) * repeat
    with _noting(output, total) as note:
        measurements = throughput.measure(plan, note)
    show_rows("medians; costs in µs per record", throughput.table(measurements))


@commands.command()
def latency(
    context: typer.Context,
    rate: Annotated[int, typer.Option(min=1, max=100_000, help="Records in a second.")] = 1_000,
    warm_up: Annotated[int, typer.Option(min=0, help="Seconds before the measurement.")] = 15,
    seconds: Annotated[int, typer.Option(min=1, help="Seconds of measurement.")] = 60,
    repeat: Repeat = 1,
    guarantee: Annotated[Guarantee | None, typer.Option(help="Only cases of this one. [default: both]")] = None,
    commit_interval: CommitInterval = None,
    output: OutputOption = None,
    broker_pid: BrokerPid = None,
) -> None:
    """Measure how long a record takes from when it is due to when its result can be read, at a steady rate."""
    from headrace.app.bench import broker as brokers
    from headrace.app.bench import latency

    settings, bootstrap = _settings(context, None, commit_interval)
    latency.histogram_type()
    plan = latency.Plan(rate, warm_up, seconds, settings.commit_interval.total_seconds(), repeat)
    guarantees = [guarantee] if guarantee else list(Guarantee)
    total = repeat * sum(case.guarantee in guarantees for case in latency.CASES)
    with _noting(output, total) as note, brokers.opened(bootstrap, broker_pid) as broker:
        rows = [_noted(each, note) for each in latency.measure(broker, plan, guarantees)]
    show_rows("latency", rows)


@commands.command()
def restore(
    context: typer.Context,
    keys: Annotated[int, typer.Option(min=1, max=10_000_000, help="Keys of the state.")] = 1_000_000,
    repeat: Repeat = 5,
    output: OutputOption = None,
    broker_pid: BrokerPid = None,
) -> None:
    """Measure how fast the state of a task comes back from its changelog."""
    from headrace.app.bench import broker as brokers
    from headrace.app.bench import restore

    _, bootstrap = _settings(context, None, None)
    with _noting(output, repeat) as note, brokers.opened(bootstrap, broker_pid) as broker:
        rows = [_noted(each, note) for each in restore.measure(broker, keys, repeat)]
    show_rows("restore; costs in µs per key", rows)


@commands.command()
def close(
    windows: Annotated[int, typer.Option(min=1, max=10_000_000, help="Windows that close at once.")] = 100_000,
    repeat: Repeat = 5,
    output: OutputOption = None,
) -> None:
    """Measure what it costs that many windows close at once, in one task without a broker."""
    from headrace.app.bench import closing

    with _noting(output, repeat * len(closing.KINDS)) as note:
        rows = [_noted(each, note) for each in closing.measure(windows, repeat)]
    show_rows("windows that close; seconds of CPU", rows)


@commands.command()
def steady(
    context: typer.Context,
    scenario: Annotated[str, typer.Argument(help="Of the scenarios of `headrace bench run`.")] = "W2-rekeyed",
    partitions: Annotated[str, typer.Option(metavar="N,N…", help="Partitions of the source.")] = "16,32",
    rate: Annotated[int, typer.Option(min=1, max=1_000_000, help="Records in a second.")] = 50_000,
    warm_up: Annotated[int, typer.Option(min=0, help="Seconds before the measurement.")] = 20,
    seconds: Annotated[int, typer.Option(min=1, help="Seconds of measurement.")] = 20,
    repeat: Repeat = 3,
    guarantee: Annotated[Guarantee | None, typer.Option(help="Only this one. [default: both]")] = None,
    commit_interval: CommitInterval = None,
    output: OutputOption = None,
    broker_pid: BrokerPid = None,
) -> None:
    """Measure what worker and broker use of a core at a steady rate, beside the broker alone."""
    from headrace.app.bench import broker as brokers
    from headrace.app.bench import steady, throughput
    from headrace.app.bench.workloads import WORKLOADS

    settings, bootstrap = _settings(context, None, commit_interval)
    (name,) = throughput.checked_scenarios([scenario])
    numbers = counts("--partitions", partitions, throughput.PARTITIONS_MAX)
    interval_s = settings.commit_interval.total_seconds()
    plan = steady.Plan(WORKLOADS[name], numbers, rate, warm_up, seconds, interval_s, repeat)
    guarantees = [guarantee] if guarantee else list(Guarantee)
    total = len(numbers) * repeat * (1 + len(guarantees))
    with _noting(output, total) as note, brokers.opened(bootstrap, broker_pid) as broker:
        rows = [_noted(each, note) for each in steady.measure(broker, plan, guarantees)]
    show_rows("% of a core", rows)


@commands.command()
def guarantees(
    context: typer.Context,
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]…", help="W2-latest and W2-every by default.")
    ] = None,
    partitions: Annotated[int, typer.Option(min=1, max=64, help="Partitions of the source.")] = 4,
    records: Records = 1_000_000,
    pairs: Annotated[int, typer.Option(min=1, max=100, help="Pairs of runs.")] = 5,
    commit_interval: CommitInterval = None,
    output: OutputOption = None,
    broker_pid: BrokerPid = None,
) -> None:
    """Measure what exactly once costs over at least once: ratios of pairs of runs."""
    from headrace.app.bench import broker as brokers
    from headrace.app.bench import guarantees, throughput
    from headrace.app.bench.case import Case
    from headrace.app.bench.workloads import WORKLOADS

    settings, bootstrap = _settings(context, None, commit_interval)
    names = throughput.checked_scenarios(scenarios or ("W2-latest", "W2-every"))
    interval_s = settings.commit_interval.total_seconds()
    rows = []
    with _noting(output, len(names) * pairs * 2) as note, brokers.opened(bootstrap, broker_pid) as broker:
        for name in names:
            case = Case(WORKLOADS[name], Layer.KAFKA, Mode.PARTITIONED, partitions, 1, records)
            made = []
            for pair in guarantees.measure(broker, case, interval_s, pairs):
                made.append(pair)
                for each in pair.values():
                    note(each)
            rows.append(guarantees.ratios(made))
    show_rows("exactly once to at least once", rows)


@commands.command()
def budget(
    context: typer.Context,
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]…", help="W1, W2-latest, W2-every and W3 by default.")
    ] = None,
    partitions: Annotated[int, typer.Option(min=1, max=64, help="Partitions of the source.")] = 4,
    records: Records = 1_000_000,
    guarantee: GuaranteeOption = None,
    commit_interval: CommitInterval = None,
    output: OutputOption = None,
    broker_pid: BrokerPid = None,
) -> None:
    """Measure by step where the CPU time of a worker goes, topic to topic."""
    from headrace.app.bench import broker as brokers
    from headrace.app.bench import kafka_layer, throughput
    from headrace.app.bench.case import Case
    from headrace.app.bench.workloads import WORKLOADS

    settings, bootstrap = _settings(context, guarantee, commit_interval)
    names = throughput.checked_scenarios(scenarios or ("W1", "W2-latest", "W2-every", "W3"))
    interval_s = settings.commit_interval.total_seconds()
    rows: list[dict[str, object]] = []
    with _noting(output, len(names)) as note, brokers.opened(bootstrap, broker_pid) as broker:
        for name in names:
            case = Case(WORKLOADS[name], Layer.KAFKA, Mode.PARTITIONED, partitions, 1, records)
            made, results = kafka_layer.run_by_step(case, broker, settings.guarantee, interval_s)
            note(made)
            throughput.check(case, results)
            rows.append({"scenario": name, **{each.step: each.us for each in made.steps}, "total": made.total_us})
    show_rows("CPU time in µs per record", rows)


@commands.command()
def report(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.jsonl…", help="Measurements, as --output writes them.")],
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with baselines.md; plots go to its folder baselines.")
    ] = Path("docs"),
) -> None:
    """Write the tables of baselines.md between its markers, and its plots, from measurements."""
    from headrace.app.bench import plots
    from headrace.app.bench import report as reports

    measured = reports.read(files)
    reports.write(measured, output)
    plots.draw(measured, output / "baselines")


def counts(option: str, text: str, most: int) -> list[int]:
    """Whole numbers between commas, each once. UsageError for anything else, and above `most`."""
    try:
        numbers = list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise UsageError(f"{option}: {text!r} is no list of whole numbers", "for example 1,2,4") from None
    for number in numbers:
        if not 1 <= number <= most:
            raise UsageError(f"{option}: {number} is not from 1 to {most}")
    return numbers


def _settings(
    context: typer.Context, guarantee: Guarantee | None, commit_interval: str | None
) -> tuple[Settings, str | None]:
    """The settings, of which these commands honour a few, and the broker that they name, if any.

    UsageError for client properties: the measuring clients would not have them.
    """
    invocation: Invocation = context.obj
    settings = invocation.settings(guarantee=guarantee, commit_interval=commit_interval)
    if settings.kafka:
        raise UsageError("headrace bench takes no kafka.… properties", "measure against a broker without TLS and SASL")
    return settings, settings.bootstrap_servers if "bootstrap_servers" in settings.model_fields_set else None


@contextmanager
def _noting(output: Path | None, total: int) -> Iterator[Callable[[Measurement], None]]:
    """What is to be told of each measurement: it is written at once, and the progress bar goes on."""
    from headrace.app.bench.measurements import Output

    written = Output(output, shlex.join(["headrace", *sys.argv[1:]]))
    with progress("runs") as bar:
        bar.update(bar.task_ids[0], total=total)

        def note(measurement: Measurement) -> None:
            written.write(measurement)
            bar.advance(bar.task_ids[0])

        yield note


def _noted(measurement: Measurement, note: Callable[[Measurement], None]) -> dict[str, object]:
    """The measurement as a row."""
    import msgspec

    note(measurement)
    row: dict[str, object] = msgspec.to_builtins(measurement)
    return row

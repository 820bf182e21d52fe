"""`headrace check`, `explain` and `local`: an SQL file read, shown and run, without Kafka."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from headrace.app.errors import ExitCode, InputError, UsageError
from headrace.app.invocation import Invocation
from headrace.app.output import is_terminal, progress, show_rows
from headrace.app.values import shown
from headrace.sql.explain import ExplainStage, show_listings

if TYPE_CHECKING:
    from headrace.app.application import App
    from headrace.app.local import LocalResult, OutputRecord
    from headrace.app.settings import Settings

SqlFile = Annotated[Path, typer.Argument(metavar="APP.sql", help="The app.")]
ModeOption = Annotated[str | None, typer.Option(metavar="partitioned|single", help="Execution mode.")]
AppOption = Annotated[
    str | None, typer.Option("--app", metavar="NAME", help="The app's name; default: the file's stem.")
]
UdfOption = Annotated[
    list[str] | None,
    typer.Option("--udf", metavar="MODULE", help="Functions of your own: a module, or a .py file. Repeatable."),
]


class Output(StrEnum):
    """Which records `local` prints."""

    CHANGES = "changes"
    FINAL = "final"


class Format(StrEnum):
    JSON = "json"
    VALUE = "value"
    TABLE = "table"


def register(cli: typer.Typer) -> None:
    cli.command()(check)
    cli.command()(explain)
    cli.command()(local)


def load_app(path: Path, settings: Settings) -> App:
    """The app of an SQL file under settings. InputError where the file cannot be read, SqlError for its text."""
    from headrace.app.inputs import read_text
    from headrace.app.order import open_app

    return open_app(read_text(path), str(path), settings.app or path.stem, settings)


def check(context: typer.Context, sql: SqlFile, udf: UdfOption = None, app: AppOption = None) -> None:
    """Read, bind and plan an app: `ok` and a line per query, or every error with its place and a hint."""
    invocation: Invocation = context.obj
    loaded = load_app(sql, invocation.settings(udf=udf or None, app=app))
    from headrace.sql.physical import Mode

    loaded.stages(Mode.PARTITIONED)
    sys.stdout.write("ok\n")
    for query in loaded.logical.queries:
        source = _source_name(query.node)
        sys.stdout.write(f"  {query.name}: {source} → {query.sink.kind.lower()} {query.sink.topic}\n")
    for insert in loaded.logical.inserts:
        sys.stdout.write(f"  {loaded.line_of(insert.span)}: inserts {len(insert.records)} into {insert.source.name}\n")
    if loaded.logical.listings:
        sys.stdout.write("\n" + show_listings(loaded.logical.listings))
    if loaded.logical.explained:
        sys.stdout.write("\n" + loaded.explain(ExplainStage.LOGICAL))


def _source_name(node: Any) -> str:
    from headrace.sql.plan import scans_of

    return ", ".join(dict.fromkeys(scan.source.topic for scan in scans_of(node)))


def explain(
    context: typer.Context,
    sql: SqlFile,
    stage: Annotated[
        ExplainStage,
        typer.Option(help="The step to show: what queries compute, how they are cut, where they run, the code."),
    ] = ExplainStage.PHYSICAL,
    mode: ModeOption = None,
    udf: UdfOption = None,
    app: AppOption = None,
) -> None:
    """Show a step of an app's compilation. `--stage code` is the Python that runs, exactly."""
    invocation: Invocation = context.obj
    settings = invocation.settings(mode=mode, udf=udf or None, app=app)
    sys.stdout.write(load_app(sql, settings).explain(stage, settings.mode).rstrip("\n") + "\n")


def local(
    context: typer.Context,
    sql: SqlFile,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=FILE", help=".jsonl .csv .parquet, also .gz; - is stdin. Repeatable."),
    ] = None,
    records: Annotated[
        str | None, typer.Option(metavar="FILE", help="Envelopes (topic, key, value, …), one a line, in order.")
    ] = None,
    mode: ModeOption = None,
    partitions: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Partitions of the sources; default: as declared, else 4.")
    ] = None,
    parallelism: Annotated[int | None, typer.Option(min=1, metavar="P", help="Partitions after a re-key.")] = None,
    output: Annotated[Output, typer.Option(help="Every record, or the last value of each key.")] = Output.CHANGES,
    sink: Annotated[str | None, typer.Option(metavar="NAME", help="Only this sink.")] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="Default: table on a terminal, json in a pipe.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 where a record was bad.")] = False,
    udf: UdfOption = None,
    app: AppOption = None,
) -> None:
    """Run an app on finite files, without Kafka: the same plan, the same code, the same bytes."""
    invocation: Invocation = context.obj
    settings = invocation.settings(mode=mode, parallelism=parallelism, udf=udf or None, app=app)
    loaded = load_app(sql, settings)
    sys.stdout.write(show_listings(loaded.logical.listings))
    if loaded.logical.explained:
        sys.stdout.write(loaded.explain("logical"))
    sinks = {query.sink.name.lower(): query.sink.name for query in loaded.logical.queries}
    if sink is not None and sink.lower() not in sinks:
        raise UsageError(f"`{sink}` is no sink of the app", f"known: {', '.join(sinks.values())}")
    result = _run(loaded, settings, inputs or [], records, partitions)
    chosen = [sinks[sink.lower()]] if sink is not None else list(dict.fromkeys(sinks.values()))
    form = form or (Format.TABLE if is_terminal() else Format.JSON)
    if output is Output.FINAL:
        _print_final(result, chosen, form)
    else:
        _print([record for record in result.records if record.sink in chosen], chosen, form)
    _print_counts(result)
    if strict and result.dead_letters:
        raise typer.Exit(ExitCode.INPUT)


def _run(app: App, settings: Settings, inputs: list[str], records: str | None, partitions: int | None) -> LocalResult:
    from headrace.agents.errors import TaskStopped
    from headrace.app.inputs import envelopes_of_file, rows_of_file
    from headrace.sql.physical import SourceInput

    stages = app.plan(settings.mode).stages
    sources = {s.input.source.name.lower(): s.input.source for s in stages if isinstance(s.input, SourceInput)}
    rows: dict[str, Any] = {}
    for each in inputs:
        name, equals, file = each.partition("=")
        if not equals or not file:
            raise UsageError(f"--input {each}: write NAME=FILE")
        source = sources.get(name.lower())
        if source is None:
            known = ", ".join(source.name for source in sources.values())
            raise UsageError(f"`{name}` is no stream that a query of the app reads", f"known: {known}")
        rows[name] = rows_of_file(source, file)
    envelopes = envelopes_of_file(records) if records is not None else ()
    with progress("running"):
        try:
            return app.local(rows, envelopes, settings.mode, partitions, settings.parallelism)
        except TaskStopped as stopped:
            raise InputError(str(stopped)) from None


def _print_final(result: LocalResult, sinks: list[str], form: Format) -> None:
    last: dict[tuple[str, bytes], OutputRecord] = {}
    for record in result.records:
        last[record.sink, msgspec.json.encode(record.key)] = record
    ordered = sorted(last, key=lambda place: (sinks.index(place[0]) if place[0] in sinks else -1, place[1]))
    kept = [last[place] for place in ordered if place[0] in sinks and last[place].value is not None]
    _print(sorted(kept, key=lambda record: (sinks.index(record.sink), _order_of(record.key))), sinks, form)


def _order_of(key: Any) -> list[tuple[bool, str, Any]]:
    """Keys in their natural order: numbers as numbers, NULL last."""
    parts = list(key.values()) if isinstance(key, dict) else [key]
    return [(part is None, "" if part is None else type(part).__name__, 0 if part is None else part) for part in parts]


def _print(records: list[OutputRecord], sinks: list[str], form: Format) -> None:
    match form:
        case Format.TABLE:
            for sink in sinks:
                values = [record.value for record in records if record.sink == sink and record.value is not None]
                rows = [value if isinstance(value, dict) else {"value": shown(value)} for value in values]
                show_rows(sink, rows)
        case Format.VALUE:
            for record in records:
                sys.stdout.buffer.write((record.raw_value or b"null") + b"\n")
            sys.stdout.buffer.flush()
        case Format.JSON:
            for record in records:
                sys.stdout.buffer.write(_line(record) + b"\n")
            sys.stdout.buffer.flush()


def _line(record: OutputRecord) -> bytes:
    """One record; its value as it would stand on Kafka, every digit kept."""
    return msgspec.json.encode(
        {
            "sink": record.sink,
            "partition": record.partition,
            "key": record.key,
            "value": msgspec.Raw(record.raw_value or b"null") if record.is_json else shown(record.value),
            "timestamp": record.timestamp,
        }
    )


def _place(origin: str | None) -> dict[str, object]:
    """File and line of a record that came from a file."""
    file, colon, line = (origin or "").rpartition(":")
    return {"file": file, "line": int(line)} if colon and line.isdecimal() else {}


def _print_counts(result: LocalResult) -> None:
    for letter in result.dead_letters:
        document = {
            "sink": "dead-letter",
            "query": letter.query,
            "class": letter.kind,
            "cause": letter.message,
            **_place(letter.origin),
            "value": None if letter.value is None else letter.value.decode(errors="replace"),
        }
        sys.stderr.write(msgspec.json.encode(document).decode() + "\n")
    counts = result.counts
    text = f"read {counts.read}, emitted {counts.emitted}, late {counts.late}, dead-lettered {counts.dead_lettered}"
    sys.stderr.write(text + (f", skipped {counts.skipped}" if counts.skipped else "") + "\n")

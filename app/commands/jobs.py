"""`headrace jobs`: the client of a job server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from headrace.app.invocation import Invocation
from headrace.app.output import is_terminal, show_done, show_json, show_table, show_text

if TYPE_CHECKING:
    from headrace.app.job_client import JobClient

commands = typer.Typer(help="Deploy, watch and stop jobs of a job server (`headrace server`).", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The job.")]


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[
    Output | None, typer.Option(metavar="table|json", help="table on a terminal, json into a pipe by default.")
]


class Topics(StrEnum):
    NONE = "none"
    INTERNAL = "internal"
    ALL = "all"


def _client(context: typer.Context) -> JobClient:
    invocation: Invocation = context.obj
    settings = invocation.settings()
    from headrace.app.job_client import JobClient

    return JobClient(settings)


def _is_json(output: Output | None) -> bool:
    return output is Output.JSON or (output is None and not is_terminal())


@commands.command()
def deploy(
    context: typer.Context,
    sql: Annotated[Path, typer.Argument(metavar="APP.sql", help="The app.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the job; the file's stem by default.")
    ] = None,
    mode: Annotated[str | None, typer.Option(metavar="partitioned|single", help="Execution mode.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, metavar="N", help="Worker processes on each server.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--with", metavar="KEY=VALUE", help="A setting of the job; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would come of it, and do nothing.")] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Make state and results anew, from the sources, beside the version that runs."),
    ] = False,
    output: OutputOption = None,
) -> None:
    """Deploy an app as a job, or as the next version of a job."""
    from headrace.app.inputs import read_text

    document = {
        "name": name or sql.stem,
        "sql": read_text(sql),
        "mode": mode,
        "workers": workers,
        "settings": dict(_assigned(each) for each in settings or ()),
    }
    body = {key: value for key, value in document.items() if value is not None}
    deployed = _client(context).deploy(body, dry_run=dry_run, rebuild=rebuild)
    if _is_json(output):
        show_json(deployed)
        return
    what = "would be deployed" if dry_run else "deployed"
    reasons = "".join(f"\n  {reason}" for reason in deployed["reasons"])
    show_text(f"{deployed['name']} version {deployed['version']} {what}: {deployed['verdict']}{reasons}")


def _assigned(text: str) -> tuple[str, str]:
    from headrace.app.errors import UsageError

    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--with {text}: write --with key=value")
    return key.strip(), value.strip()


@commands.command(name="list")
def list_(context: typer.Context, output: OutputOption = None) -> None:
    """List all jobs."""
    jobs = _client(context).jobs()
    if _is_json(output):
        for job in jobs:
            show_json(job)
        return
    show_table("jobs", [_row(job) for job in jobs])


def _row(job: Mapping[str, Any]) -> dict[str, object]:
    return {
        "job": job["name"],
        "state": _coloured(job["state"]),
        "version": job["version"],
        "mode": job["mode"],
        "workers": job["workers"],
        "reads": ", ".join(job["reads"]),
        "writes": ", ".join(job["writes"]),
        "reason": escape((job["reason"] or "").split("\n")[0]),
    }


PASSING = ("starting", "waiting", "switching")


def _coloured(state: str) -> str:
    colour = {"running": "green", "failed": "red", "paused": "cyan"} | dict.fromkeys(PASSING, "yellow")
    return f"[{colour[state]}]{state}[/]" if state in colour else state


@commands.command()
def status(context: typer.Context, name: Name, output: OutputOption = None) -> None:
    """Show a job: by partition how far it has read, what is left, its watermark and its state."""
    job = _client(context).job(name)
    if _is_json(output):
        show_json(job)
        return
    show_table(f"job {name}", [_row(job)])
    tasks = [(status["slot"], task) for status in job["status"] for task in status["tasks"]]
    show_table("partitions", [_partition(slot, task) for slot, task in tasks])
    if job["reason"]:
        show_text(job["reason"])
    if (rebuild := job["rebuild"]) is not None:
        show_text(_rebuild(rebuild))


def _rebuild(rebuild: Mapping[str, Any]) -> str:
    reason = f" ({rebuild['reason']})" if rebuild["reason"] else ""
    if rebuild["switching"]:
        return f"rebuilt as generation {rebuild['generation']}, which takes over now{reason}"
    behind = "" if rebuild["behind"] is None else f", {rebuild['behind']} records behind"
    return f"being rebuilt as generation {rebuild['generation']}: {rebuild['state']}{behind}{reason}"


def _partition(slot: int, task: Mapping[str, Any]) -> dict[str, object]:
    queries = task["queries"]
    lags = [each["lag"] for each in task["inputs"] if each["lag"] is not None]
    return {
        "stage": task["stage"],
        "part": task["partition"],
        "worker": slot,
        "position": ", ".join(str(each["position"]) for each in task["inputs"]),
        "lag": sum(lags) if lags else None,
        "watermark": _time(task["watermark_ms"]),
        "keys": task["state_keys"],
        "emitted": sum(each["emitted"] for each in queries),
        "late": sum(each["late"] for each in queries),
        "dead": sum(each["dead_lettered"] for each in queries),
    }


def _time(milliseconds: int | None) -> str:
    from datetime import UTC, datetime, timedelta

    if milliseconds is None:
        return ""
    try:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:  # no year that a calendar has: perhaps its source has microseconds
        return f"{milliseconds} ms"
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _changed(context: typer.Context, name: str, what: str, output: Output | None) -> None:
    job = _client(context).change(name, what)
    if _is_json(output):
        show_json(job)
    else:
        show_text(f"{name} version {job['version']} is to be {job['wanted']}")


@commands.command()
def pause(context: typer.Context, name: Name, output: OutputOption = None) -> None:
    """Have a job read nothing. Its workers stay, with their state open."""
    _changed(context, name, "pause", output)


@commands.command()
def resume(context: typer.Context, name: Name, output: OutputOption = None) -> None:
    """Have a job go on, or start again."""
    _changed(context, name, "resume", output)


@commands.command()
def stop(context: typer.Context, name: Name, output: OutputOption = None) -> None:
    """Have the workers of a job drain, commit and end. State and offsets stay."""
    _changed(context, name, "stop", output)


@commands.command()
def restart(context: typer.Context, name: Name, output: OutputOption = None) -> None:
    """End the workers of a job and start them again."""
    _changed(context, name, "restart", output)


@commands.command()
def delete(
    context: typer.Context,
    name: Name,
    topics: Annotated[
        Topics, typer.Option(help="What goes with it: what only it reads, all that it writes too, or nothing.")
    ] = Topics.INTERNAL,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a job, and by default its internal topics, its state and its offsets."""
    from headrace.app.errors import UsageError

    client = _client(context)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("delete asks before it deletes, and there is no terminal to ask on", "give --yes")
        gone = {Topics.NONE: "", Topics.INTERNAL: ", its state and offsets", Topics.ALL: ", its state and its results"}
        typer.confirm(f"delete job {name}{gone[topics]}?", abort=True, err=True)
    client.delete(name, topics)
    show_done(f"{name} is deleted", {"name": name, "deleted": True})


@commands.command()
def explain(
    context: typer.Context,
    name: Name,
    stage: Annotated[str, typer.Option(metavar="logical|physical|topology|code", help="Which step.")] = "physical",
) -> None:
    """Show a job as one of the steps of its compilation."""
    sys.stdout.write(_client(context).explain(name, stage))


@commands.command()
def query(
    context: typer.Context,
    sql: Annotated[str, typer.Argument(metavar="SELECT", help="A question to one table or stream of a job.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on: rows as they come.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="Rows, at most.")] = 1_000,
    output: OutputOption = None,
) -> None:
    """Ask a table as it is now, or follow a stream."""
    client = _client(context)
    if follow:
        for line in client.follow(sql):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        return
    rows = client.query(sql, limit)
    if _is_json(output):
        for row in rows:
            show_json(row)
    else:
        show_table("rows", rows)

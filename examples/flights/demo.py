"""`make demo`: real flights through a real Kafka, by SQL, checked against DuckDB. Ends by itself and cleans up."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import orjson
from rich.console import Console
from rich.table import Table

from headrace.app import broker as brokers
from headrace.app.consume import read_to_end
from headrace.app.errors import HeadraceError
from headrace.app.output import show_error
from headrace.app.settings_sources import load_settings

HERE = Path(__file__).parent
DATA, SQL = HERE / "flights.jsonl.gz", HERE / "flights.sql"
Row = tuple[object, ...]

DELAYS = """
SELECT carrier, count(*), count(dep_delay), avg(dep_delay), max(dep_delay) FROM read_json($file) GROUP BY ALL
"""
ROUTES = """
SELECT origin, dest, epoch_ms(time_bucket(INTERVAL 1 DAY, departure::TIMESTAMP)), count(*), count(DISTINCT carrier),
  sum(distance)::BIGINT
FROM read_json($file) GROUP BY ALL
"""
console = Console()


def main() -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="headrace-demo-") as directory:
        home = brokers.Home(Path(directory), brokers.Home.of_user().jars)
        console.print("starting Apache Kafka (the first time, its jars are fetched)")
        broker = brokers.start(home, brokers.free_port(), brokers.Security.PLAINTEXT, lambda *_: None)
        try:
            same = show(broker.address, Path(directory))
        finally:
            brokers.stop(broker)
    console.print(f"the broker is stopped; all of it took {time.monotonic() - started:.0f} s")
    return 0 if same else 1


def show(address: str, directory: Path) -> bool:
    """Load, run, show and compare; whether Headrace and DuckDB agree."""
    headrace(address, directory, "produce", "flights", "--partitions", "4", "--input", str(DATA))
    headrace(address, directory, "run", str(SQL), "--mode", "partitioned", "--workers", "2", "--until-end")
    delays = [
        (v["carrier"], v["flights"], v["departed"], v["avg_delay"], v["max_delay"])
        for _, v in latest(address, "delays-by-carrier")
    ]
    routes = [
        (v["origin"], v["dest"], key["window_start"], v["flights"], v["carriers"], v["miles"])
        for key, v in latest(address, "busiest-routes")
    ]
    show_delays(delays)
    show_routes(routes)
    agreed = [compare("delays_by_carrier", delays, DELAYS), compare("busiest_routes", routes, ROUTES)]
    return all(agreed)


def headrace(address: str, directory: Path, *arguments: str) -> None:
    """Run a command as a user would type it."""
    shown = [os.path.relpath(each) if each.startswith(str(HERE)) else each for each in arguments]
    console.print(f"[bold]$ headrace {' '.join(shown)}[/]", highlight=False)
    own = {"BOOTSTRAP_SERVERS": address, "STATE_DIR": str(directory / "state"), "LOG_LEVEL": "warning"}
    environment = os.environ | {f"HEADRACE_{name}": value for name, value in own.items()}
    command = [sys.executable, "-c", "from headrace.app.cli import main; main()", *arguments]
    subprocess.run(command, env=environment, check=True)


def latest(address: str, topic: str) -> Iterator[tuple[Mapping[str, object], Mapping[str, object]]]:
    """The newest value of every key of a topic."""
    settings = load_settings({"bootstrap_servers": address}, environ={})
    newest = {}
    for line in read_to_end(settings, topic):
        record = orjson.loads(line)
        newest[orjson.dumps(record["key"])] = (record["key"], record["value"])
    return (pair for pair in newest.values() if pair[1] is not None)


def show_delays(rows: Sequence[Row]) -> None:
    table = Table("carrier", title="delays_by_carrier", title_justify="left")
    for name in ("flights", "departed", "avg_delay", "max_delay"):
        table.add_column(name, justify="right")
    for carrier, flights, departed, average, longest in sorted(rows, key=lambda row: float(str(row[3])), reverse=True):
        table.add_row(str(carrier), f"{flights:,}", f"{departed:,}", f"{average:.2f} min", f"{longest} min")
    console.print(table)


def show_routes(rows: Sequence[Row], count: int = 10) -> None:
    table = Table("day", "route", title=f"busiest_routes: {count} of {len(rows):,} rows", title_justify="left")
    for name in ("flights", "carriers", "miles"):
        table.add_column(name, justify="right")
    for origin, dest, start, flights, carriers, miles in sorted(rows, key=lambda row: (-int(str(row[3])), str(row)))[
        :count
    ]:
        day = time.strftime("%Y-%m-%d", time.gmtime(int(str(start)) / 1000))
        table.add_row(day, f"{origin} → {dest}", str(flights), str(carriers), f"{miles:,}")
    console.print(table)


def compare(name: str, rows: Sequence[Row], query: str) -> bool:
    """Compare with DuckDB's result over the same file; averages of doubles to 1e-9."""
    expected = duckdb.execute(query, {"file": str(DATA)}).fetchall()
    ours, theirs = sorted(rows, key=repr), sorted(expected, key=repr)
    same = len(ours) == len(theirs) and all(map(agree, ours, theirs))
    verdict = "[green]identical[/]" if same else "[bold red]different[/]"
    console.print(f"{name}: {len(ours):,} rows, DuckDB {len(theirs):,} rows: {verdict}", highlight=False)
    if not same:
        for our, their in [pair for pair in zip(ours, theirs, strict=False) if not agree(*pair)][:5]:
            console.print(f"  Headrace {our}\n  DuckDB   {their}")
    return same


def agree(ours: Row, theirs: Row) -> bool:
    return len(ours) == len(theirs) and all(
        math.isclose(a, b, rel_tol=1e-9) if isinstance(a, float) and isinstance(b, float) else a == b
        for a, b in zip(ours, theirs, strict=True)
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an end from outside stops the broker too
    try:
        sys.exit(main())
    except HeadraceError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # the command has said why
    except KeyboardInterrupt:
        sys.exit(130)

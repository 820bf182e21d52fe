"""Some of the random apps of the property tests, on a real broker: as in memory, in both modes."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from tests.integration.sql_app import Input, NewSqlApp, SqlApp, Written, written_locally
from tests.property.generators import APPS, AppCase, Layout, Sink, layouts
from tests.property.results import same_row

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

CREATE_AS = re.compile(r"CREATE (STREAM|TABLE) (\w+) (?:WITH \(([^)]*)\) )?AS")


@st.composite
def runs(draw: st.DrawFn) -> tuple[AppCase, Layout, str]:
    case = draw(APPS)
    layout = draw(layouts(keyed=case.source.keyed, most=80))
    return case, layout, draw(st.sampled_from(("single", "partitioned")))


def with_topics(case: AppCase) -> str:
    """The app's SQL with every topic named after the app."""
    source = case.source.sql().removesuffix(";") + " WITH (topic = '{name}-in');"

    def named(found: re.Match[str]) -> str:
        options = f", {found[3]}" if found[3] else ""
        return f"CREATE {found[1]} {found[2]} WITH (topic = '{{name}}-{found[2]}'{options}) AS"

    return f"{source}\n{CREATE_AS.sub(named, case.queries)}"


@given(runs())
@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_generated_app_gives_on_kafka_what_it_gives_in_memory(
    new_sql_app: NewSqlApp, run: tuple[AppCase, Layout, str]
) -> None:
    case, layout, mode = run
    assume(sum(map(len, layout)) >= 20)
    app = new_sql_app(with_topics(case), partitions=len(layout))
    records = [
        Input(partition, record.key, record.value, record.timestamp)
        for partition, held in enumerate(layout)
        for record in held
    ]
    app.produce(records)
    app.run_to_end("--mode", mode, "--workers", "2")
    expected = app.local(records, mode, partitions=len(layout))
    for sink in case.sinks:
        written = written_locally(expected, f"{app.name}-{sink.topic}")
        # A Kafka client takes a timestamp of 0 for "now": 1 is written in its place.
        assert_same(app, sink, [(key, value, max(timestamp, 1)) for key, value, timestamp in written])


def assert_same(app: SqlApp, sink: Sink, expected: list[Written]) -> None:
    found = app.written(f"{app.name}-{sink.topic}")
    if sink.kind == "stream":
        assert sorted(map(repr, found)) == sorted(map(repr, expected)), sink
        return
    if sink.kind == "final":
        assert len(found) == len({key for key, _, _ in found}), f"{sink}: a result came twice"
    ours, theirs = last_rows(expected, sink), last_rows(found, sink)
    assert ours.keys() == theirs.keys(), sink
    for key, (row, timestamp) in ours.items():
        assert same_row(row, theirs[key][0]), (sink, key)
        assert timestamp == theirs[key][1], (sink, key)


def last_rows(written: list[Written], sink: Sink) -> dict[bytes | None, tuple[dict, int]]:
    last = {key: (value, timestamp) for key, value, timestamp in written}
    return {
        key: (
            {
                name: float(v) if name in sink.doubles and isinstance(v, (int, Decimal)) else v
                for name, v in json.loads(value, parse_float=Decimal).items()
            },
            timestamp,
        )
        for key, (value, timestamp) in last.items()
        if value is not None
    }

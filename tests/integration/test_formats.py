"""Keys, headers and values that are no JSON objects, on a real broker."""

from __future__ import annotations

import pytest
from tests.integration.sql_app import Input, NewSqlApp

from headrace.app.consume import records_to_end
from headrace.app.infer import of_topic
from headrace.app.settings_sources import load_settings

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

SQL = """
CREATE STREAM readings (
  sensor BIGINT KEY, celsius DOUBLE, place VARCHAR, trace BYTES HEADER('trace'),
  sent TIMESTAMP METADATA FROM 'timestamp'
) WITH (topic = '{name}-in', format = 'csv', value_delimiter = ';', key_format = 'binary');

CREATE STREAM seen WITH (topic = '{name}-seen') AS
SELECT sensor, celsius, _partition, _offset, _timestamp, _topic, HEADER('trace') AS trace FROM readings;

CREATE STREAM places WITH (topic = '{name}-places', format = 'raw', key_format = 'none') AS
SELECT place FROM readings WHERE place IS NOT NULL;

CREATE TABLE warmest WITH (topic = '{name}-warmest', format = 'binary', key_format = 'binary') AS
SELECT place, MAX(celsius) AS celsius FROM readings GROUP BY place;
"""


def test_formats_keys_and_headers_are_on_kafka_as_in_memory(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL)
    key = (7).to_bytes(8, "big")
    app.produce(
        [
            Input(1, key, '21.5;"a;ß"'.encode(), 1_700_000_000_000, (("trace", b"x"), ("trace", b"y"))),
            Input(1, key, b"22.5;b", 1_700_000_000_001, (("other", b"\xff"),)),
            Input(1, b"x", b"1;c", 1_700_000_000_002),
            Input(2, None, b'20;"a;\xc3\x9f"', 1_700_000_000_003),
        ]
    )
    app.run_to_end()
    expected = [
        {
            "sensor": 7, "celsius": 21.5, "_partition": 1, "_offset": 0, "_timestamp": 1_700_000_000_000,
            "_topic": app.source, "trace": "y",
        },
        {
            "sensor": 7, "celsius": 22.5, "_partition": 1, "_offset": 1, "_timestamp": 1_700_000_000_001,
            "_topic": app.source, "trace": None,
        },
        {
            "sensor": None, "celsius": 20.0, "_partition": 2, "_offset": 0, "_timestamp": 1_700_000_000_003,
            "_topic": app.source, "trace": None,
        },
    ]  # fmt: skip
    assert sorted(app.rows(f"{app.name}-seen"), key=lambda row: row["_timestamp"]) == expected
    places = app.written(f"{app.name}-places")
    assert sorted((key, value) for key, value, _ in places if value is not None) == sorted(
        [(None, "a;ß".encode()), (None, b"b"), (None, b"c"), (None, "a;ß".encode())], key=str
    )
    warmest = app.contents(f"{app.name}-warmest")
    assert {key: value for key, (value, _) in warmest.items()} == {
        "a;ß".encode(): bytes.fromhex("4035800000000000"),
        b"b": bytes.fromhex("4036800000000000"),
        b"c": bytes.fromhex("3ff0000000000000"),
    }
    ((_, value, headers),) = app.dead_letters()
    assert value == b"1;c"
    assert headers["headrace.error.class"] == "key"


def test_topic_is_sampled_by_infer(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL)
    app.produce([Input(0, b"a", b'{"k":"a","n":1}'), Input(3, b"b", b'{"k":"b","n":2.5}')])
    settings = load_settings({"bootstrap_servers": app.bootstrap}, environ={})
    text = of_topic(settings, app.source, "sampled", 1000)
    assert text == f"CREATE STREAM sampled (\n  k VARCHAR KEY,\n  n DOUBLE\n) WITH (topic = '{app.source}');\n"
    assert len(list(records_to_end(settings, app.source))) == 2

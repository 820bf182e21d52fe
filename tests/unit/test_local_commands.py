"""`headrace check`, `explain` and `local` on small files: what they print, where, and how they end."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.app.cli import run_command

SQL = """\
CREATE STREAM trades (symbol VARCHAR, price DECIMAL(10, 2), quantity BIGINT, at TIMESTAMP, WATERMARK FOR at)
WITH (topic = 'trades');
CREATE TABLE totals AS SELECT symbol, COUNT(*) AS n, SUM(price) AS price FROM trades GROUP BY symbol;
CREATE STREAM large AS SELECT symbol, quantity FROM trades WHERE quantity > 10;
"""
LINES = [
    '{"symbol":"b","price":1.10,"quantity":5,"at":1000}',
    '{"symbol":"a","price":2,"quantity":20,"at":2000}',
    '{"symbol":"b","price":"0.05","quantity":30,"at":3000}',
]


@pytest.fixture
def app_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "trades.sql"
    file.write_text(SQL)
    (tmp_path / "trades.jsonl").write_text("\n".join(LINES) + "\n")
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], list[str]]:
    code = run_command(list(arguments))
    output = capsys.readouterr()
    return code, output.out.splitlines(), output.err.splitlines()


def local(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]], list[str]]:
    code, out, err = run(capsys, "local", "trades.sql", *arguments)
    return code, [json.loads(line) for line in out], err


def test_check_prints_ok_and_a_line_per_query(app_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", "trades.sql")
    assert (code, err) == (0, [])
    assert out == ["ok", "  totals: trades → table totals", "  large: trades → stream large"]


def test_check_shows_every_error_with_place_caret_and_hint(app_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app_file.write_text(SQL + "SELECT prise FROM trades;\nSELECT price FROM trade;\n")
    code, out, err = run(capsys, "check", "trades.sql")
    assert (code, out) == (1, [])
    assert err == [
        "trades.sql:5:8: error: column `prise` does not exist",
        "  SELECT prise FROM trades;",
        "         ^^^^^",
        "  hint: did you mean `price`?",
        "trades.sql:6:19: error: stream or table `trade` does not exist",
        "  SELECT price FROM trade;",
        "                    ^^^^^",
        "  hint: did you mean `trades`?",
    ]


def test_explain_of_every_stage_is_the_same_text_each_time(app_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("logical", "physical", "topology", "code"):
        first = run(capsys, "explain", "trades.sql", "--stage", stage)
        assert first[0] == 0
        assert first[1]
        assert run(capsys, "explain", "trades.sql", "--stage", stage) == first


def test_explained_code_is_python(app_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "explain", "trades.sql", "--stage", "code")
    compile("\n".join(out), "explained", "exec")
    assert "def from_source_0(rows, task):" in out


@pytest.mark.parametrize("mode", ["single", "partitioned"])
def test_local_prints_a_json_line_per_record(mode: str, app_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, records, err = local(capsys, "--input", "trades=trades.jsonl", "--mode", mode, "--sink", "large")
    assert code == 0
    assert sorted(records, key=lambda record: record["timestamp"]) == [
        {"sink": "large", "partition": 1, "key": None, "value": {"symbol": "a", "quantity": 20}, "timestamp": 2000}
        | {"partition": records[0]["partition"]},
        {"sink": "large", "key": None, "value": {"symbol": "b", "quantity": 30}, "timestamp": 3000}
        | {"partition": records[1]["partition"]},
    ]
    assert err == ["read 3, emitted 5, late 0, dead-lettered 0"]


def test_final_output_is_the_last_value_of_each_key_in_key_order(
    app_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, records, _ = local(capsys, "--input", "trades=trades.jsonl", "--sink", "totals", "--output", "final")
    assert [(record["key"], record["value"]["n"]) for record in records] == [("a", 1), ("b", 2)]


def test_value_format_keeps_every_digit(app_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--input", "trades=trades.jsonl", "--sink", "totals", "--output", "final", "--format", "value")
    code, out, _ = run(capsys, "local", "trades.sql", *arguments)
    assert code == 0
    assert out == ['{"symbol":"a","n":1,"price":2.00}', '{"symbol":"b","n":2,"price":1.15}']


def test_table_format_shows_the_sinks_by_name(app_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "local", "trades.sql", "--input", "trades=trades.jsonl", "--format", "table")
    assert code == 0
    assert any("symbol" in line for line in out)


def test_compressed_csv_and_stdin_inputs_give_the_same(
    app_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(LINES)
    with gzip.open("trades.jsonl.gz", "wt") as file:
        file.write(text)
    Path("trades.csv").write_text("symbol,price,quantity,at\nb,1.10,5,1000\na,2,20,2000\nb,0.05,30,3000\n")
    expected = local(capsys, "--input", "trades=trades.jsonl", "--output", "final", "--sink", "totals")
    for given in ("trades.jsonl.gz", "trades.csv"):
        assert local(capsys, "--input", f"trades={given}", "--output", "final", "--sink", "totals") == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert local(capsys, "--input", "trades=-", "--output", "final", "--sink", "totals") == expected


def test_bad_line_goes_to_the_dead_letters_with_its_place(app_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Path("trades.jsonl").open("a") as file:
        file.write('{"symbol":"c","price":1,"quantity":true,"at":4000}\n')
    code, _, err = local(capsys, "--input", "trades=trades.jsonl")
    assert code == 0
    letter = json.loads(err[0])
    assert (letter["sink"], letter["query"], letter["class"]) == ("dead-letter", "large", "type")
    assert (letter["file"], letter["line"]) == ("trades.jsonl", 4)
    assert "quantity" in letter["cause"]
    assert err[-1] == "read 4, emitted 6, late 0, dead-lettered 1"


def test_strict_run_with_a_bad_line_ends_with_1(app_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("trades.jsonl").write_text("{}\n")
    assert local(capsys, "--input", "trades=trades.jsonl", "--strict")[0] == 1


def test_envelopes_are_taken_in_order_with_key_partition_and_headers(
    app_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    envelopes = [
        {"topic": "trades", "key": "k", "value": {"symbol": "a", "quantity": 11, "at": 5}, "partition": 2},
        {"value": {"symbol": "b", "quantity": 12, "at": 4}, "headers": {"h": "1"}},
        {"topic": "trades", "value": None},
    ]
    Path("records.jsonl").write_text("\n".join(map(json.dumps, envelopes)))
    code, records, err = local(capsys, "--records", "records.jsonl", "--sink", "large")
    assert code == 0
    assert [(record["key"], record["value"]["symbol"]) for record in records] == [("k", "a"), (None, "b")]
    assert json.loads(err[0])["class"] == "tombstone"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--input", "quotes=trades.jsonl"], 2, "`quotes` is no stream that a query of the app reads"),
        (["--input", "trades"], 2, "write NAME=FILE"),
        (["--input", "trades=nowhere.jsonl"], 1, "nowhere.jsonl: No such file or directory"),
        (["--input", "trades=trades.xml"], 2, "unknown kind of file"),
        (["--sink", "nothing"], 2, "`nothing` is no sink of the app"),
        (["--mode", "both"], 2, "both"),
        (["--records", "trades.sql"], 1, "trades.sql:1: not an envelope"),
    ],
)
def test_wrong_call_is_refused_by_name(
    arguments: list[str], code: int, message: str, app_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, out, err = run(capsys, "local", "trades.sql", *arguments)
    assert ended == code
    assert out == []
    assert message in "\n".join(err)
    assert "Traceback" not in "\n".join(err)


GZIP = gzip.compress(" ".join(map(str, range(100_000))).encode())
CORRUPT = GZIP[:10] + b"\xff" * 100
"""A header, and a block of no known type."""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("trades.jsonl.gz", GZIP[:50_000], "trades.jsonl.gz: not a whole gzip file: Compressed file ended"),
        ("trades.jsonl.gz", CORRUPT, "trades.jsonl.gz: not a whole gzip file: Error -3"),
        ("trades.jsonl.gz", b"{}", "trades.jsonl.gz: Not a gzipped file"),
        ("trades.csv.gz", GZIP[:50_000], "trades.csv.gz: not a whole gzip file"),
        ("trades.csv", b"symbol,price\na,1\n\xff,2\n", "trades.csv:3: not UTF-8 text"),
        ("trades.csv", b"symbol\n" + b"x" * 200_000 + b"\n", "trades.csv:2: not CSV: field larger"),
    ],
)
def test_input_file_that_is_damaged_is_refused_by_name(
    name: str, content: bytes, message: str, app_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(name).write_bytes(content)
    code, _, err = run(capsys, "local", "trades.sql", "--input", f"trades={name}")
    assert code == 1
    assert message in "\n".join(err)
    code, _, err = run(capsys, "infer", name)
    assert code == 1
    assert message in "\n".join(err)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"value":1,"timestamp":"abc"}', "Expected `int | null`, got `str` - at `$.timestamp`"),
        (b'{"value":1,"headers":[1]}', "Expected `object | null`, got `array` - at `$.headers`"),
        (b'{"value":1,"topic":{}}', "Expected `str | null`, got `object` - at `$.topic`"),
        (b'{"value":1,"partition":"0"}', "Expected `int | null`, got `str` - at `$.partition`"),
        (b'{"value":1,"more":1}', "unknown field `more`"),
        (b'{"topic":"trades"}', "missing required field `value`"),
        (b'{"value":1,"key":"\xff"}', "can't decode byte 0xff"),
        (b'{"value":1,"key":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "recursion"),
        (b"[]", "Expected `object`, got `array`"),
    ],
)
def test_line_that_is_no_envelope_is_refused_with_its_place(
    line: bytes, message: str, app_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("records.jsonl").write_bytes(b'{"value":{"symbol":"a"}}\n' + line + b"\n")
    code, _, err = run(capsys, "local", "trades.sql", "--records", "records.jsonl")
    assert code == 1
    assert err[0].startswith("error: records.jsonl:2: not an envelope: ")
    assert message in err[0]


@pytest.mark.parametrize("options", ["", ", format = 'csv'", ", key_format = 'binary'"])
@pytest.mark.parametrize("line", [b'{"id":"\xff"}', b'{"\xff":1,"id":"a"}', b'{"id":"a","s":"\xff"}'])
def test_json_line_that_is_not_utf_8_goes_to_the_dead_letters_with_its_place(
    line: bytes, options: str, app_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app_file.write_text(
        f"CREATE STREAM t (id VARCHAR KEY, s VARCHAR) WITH (topic = 't'{options});\nSELECT id, s FROM t;"
    )
    Path("t.jsonl").write_bytes(b'{"id":"a"}\n' + line + b"\n")
    code, out, err = local(capsys, "--input", "t=t.jsonl")
    assert (code, len(out)) == (0, 1)
    letter = json.loads(err[0])
    assert (letter["class"], letter["file"], letter["line"]) == ("malformed", "t.jsonl", 2)


@pytest.mark.parametrize("value", [b'"\xff"', b'{"base64":"abcde"}'])
def test_envelope_whose_value_its_format_cannot_write_is_refused_with_its_place(
    value: bytes, app_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app_file.write_text("CREATE STREAM t (s VARCHAR) WITH (topic = 't', format = 'raw');\nSELECT s FROM t;")
    Path("t.jsonl").write_bytes(b'{"value":' + value + b"}\n")
    code, _, err = run(capsys, "local", "trades.sql", "--records", "t.jsonl")
    assert code == 1
    assert err[0].startswith("error: t.jsonl:1: not an envelope: ")


def test_run_refuses_a_bare_select(app_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app_file.write_text(SQL + "SELECT symbol FROM trades;")
    code, _, err = run(capsys, "run", "trades.sql", "--bootstrap-servers", "127.0.0.1:1")
    assert code == 1
    assert "a bare SELECT writes to the terminal" in err[0]


FORMATS = """\
CREATE STREAM t (k INT KEY, n INT, s VARCHAR) WITH (format = 'csv', value_delimiter = ';', key_format = 'binary');
CREATE STREAM lines (line VARCHAR) WITH (format = 'raw');
CREATE STREAM numbers (n BIGINT) WITH (format = 'binary');
CREATE STREAM as_csv WITH (format = 'csv') AS SELECT s, n FROM t;
CREATE STREAM as_json AS SELECT * FROM t;
CREATE TABLE counts WITH (format = 'binary', key_format = 'binary') AS SELECT n, COUNT(*) AS c FROM t GROUP BY n;
CREATE STREAM as_raw WITH (format = 'raw') AS SELECT line FROM lines;
CREATE STREAM doubled AS SELECT n * 2 AS n FROM numbers;
"""


def test_local_writes_rows_as_the_format_of_their_source_has_them(
    app_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app_file.write_text(FORMATS)
    rows = ['{"k":7,"n":1,"s":"a;b"}', '{"S":"x","n":"y"}', "no object"]
    (tmp_path / "t.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "numbers.csv").write_text("n\n4\nx\n")
    code, out, err = local(capsys, "--input", "t=t.jsonl", "--input", "numbers=numbers.csv", "--partitions", "1")
    assert code == 0
    assert [(line["sink"], line["key"], line["value"]) for line in out] == [
        ("as_csv", 7, "a;b,1"),
        ("as_json", 7, {"k": 7, "n": 1, "s": "a;b"}),
        ("counts", 1, 1),
        ("doubled", None, {"n": 8}),
    ]
    assert [json.loads(line)["value"] for line in err[:-1] if '"as_csv"' in line] == ["no object", ";y;x"]


def test_local_takes_records_of_other_formats_as_text_base64_or_columns(
    app_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app_file.write_text(FORMATS)
    records = [
        {"topic": "t", "value": "1;2;three"},
        {"topic": "t", "value": {"s": "x", "k": 1}},
        {"topic": "numbers", "value": {"base64": "AAAAAAAAAAU="}},
        {"topic": "lines", "value": '{"not": "parsed"}'},
        {"topic": "lines", "value": None},
    ]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    code, out, _ = local(capsys, "--records", "all.jsonl", "--partitions", "1")
    assert code == 0
    found = [(line["sink"], line["value"]) for line in out]
    assert ("as_csv", "three,2") in found
    assert ("as_csv", "x,") in found
    assert ("doubled", {"n": 10}) in found
    assert ("as_raw", '{"not": "parsed"}') in found
    code, table, _ = run(capsys, "local", "trades.sql", "--records", "all.jsonl", "--format", "table")
    assert code == 0
    assert any("three,2" in line for line in table)

"""`headrace infer` on files: the declaration that fits, and how it ends where there is none."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from headrace import App
from headrace.app.cli import run_command
from headrace.sql.inference import declaration, sample_of_records

LINES = """\
{"order": 1, "price": 1.5, "at": "2024-01-05T10:00:00Z", "day": "2024-01-05", "sent": 1709164800000, "flag": true}
{"order": 2, "price": 2, "at": "2024-01-05", "day": "2024-01-06", "sent": 1709164800001, "none": null, "mixed": 1}

{"Order": 3, "who": {"id": 1, "first name": "x"}, "tags": ["a"], "counts": {"a": 1}, "mixed": "x", "a b": 1}
{"order": null, "items": [{"a": 1}, {"a": 2.5}], "counts": {"b": 2}, "empty": [], "select": "x"}
"""
INFERRED = """\
CREATE STREAM my_orders (
  order BIGINT,
  price DOUBLE,
  at TIMESTAMP,
  day DATE,
  sent BIGINT,  -- looks like epoch milliseconds: TIMESTAMP reads them too
  flag BOOLEAN,
  none VARCHAR,  -- always NULL in the sample
  mixed JSON,  -- mixed: number, text
  who STRUCT<id BIGINT, "first name" VARCHAR>,
  tags ARRAY<VARCHAR>,
  counts MAP<VARCHAR, BIGINT>,
  "a b" BIGINT,
  items ARRAY<STRUCT<a DOUBLE>>,
  empty ARRAY<VARCHAR>,  -- always empty in the sample
  "select" VARCHAR
  -- , WATERMARK FOR at AS at - INTERVAL '5' SECOND
);
"""


def infer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command(["infer", *arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_json_lines_give_a_stream_of_their_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "My-orders.jsonl.gz"
    file.write_bytes(gzip.compress(LINES.encode()))
    assert infer(capsys, str(file)) == (0, INFERRED, "")
    code, text, _ = infer(capsys, str(file), "-n", "1", "--name", "first")
    assert code == 0
    assert text.startswith("CREATE STREAM first (\n  order BIGINT,\n")
    assert "mixed" not in text


def test_what_was_inferred_reads_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "my_orders.jsonl"
    file.write_text(LINES)
    _, text, _ = infer(capsys, str(file))
    app = tmp_path / "app.sql"
    app.write_text(f"{text}SELECT * FROM my_orders;")
    assert run_command(["local", str(app), "--input", f"my_orders={file}", "--strict"]) == 0


def test_csv_gives_columns_by_its_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("a,b,c,d\n1,x,2024-01-01,1\n2.5,,2024-01-02,x\n")
    expected = "CREATE STREAM prices (\n  a DOUBLE,\n  b VARCHAR,\n  c DATE,\n  d VARCHAR\n);\n"
    assert infer(capsys, str(file)) == (0, expected, "")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "there is no record to look at"),
        ("a.jsonl", "{}\n", "there is no record to look at"),
        ("a.jsonl", '{"a": 1}\n[1]\n', ":2: not a JSON object: Expected `object`, got `array`"),
        ("a.csv", "", "there is no record to look at"),
    ],
)
def test_file_without_columns_ends_with_1(
    name: str, text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(text)
    code, out, error = infer(capsys, str(tmp_path / name))
    assert (code, out) == (1, "")
    assert message in error


def test_file_that_is_not_there_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(capsys, str(tmp_path / "none.csv"))[0] == 1


@pytest.mark.parametrize(
    ("values", "keys", "expected"),
    [
        ([b'{"k":"a","n":1}', b'{"k":"b","n":1}', None], [b"a", b"b", b"c"], "k VARCHAR KEY,|n BIGINT|) WITH (t"),
        ([b'{"k":1,"n":2}', b'{"k":2,"n":2}'], [b"1", None], "k BIGINT KEY,|n BIGINT|) WITH (t"),
        ([b'{"k":"a"}', b'{"k":"b"}'], [b"a", b"x"], "k VARCHAR|) WITH (t"),
        ([b"1", b"2"], [None, None], "value BIGINT|) WITH (topic = 'a.b', wrap_single_value = 'false');"),
        ([b'a,"b,c"', b"d,"], [None, None], "field_1 VARCHAR,|field_2 VARCHAR|) WITH (topic = 'a.b', format = 'csv');"),
        ([b"1;x", b"2;y"], [None] * 2, "field_1 BIGINT,|field_2 VARCHAR|) WITH (topic = 'a.b', format = 'csv', val"),
        ([b"GET /", b"PUT"], [None, None], "line VARCHAR|) WITH (topic = 'a.b', format = 'raw');"),
        ([b"\xff", b"x"], [None, None], "value BYTES|) WITH (topic = 'a.b', format = 'raw');"),
    ],
)
def test_records_of_a_topic_give_its_key_and_format(
    values: list[bytes | None], keys: list[bytes | None], expected: str
) -> None:
    text = declaration("s", "a.b", sample_of_records(values, keys))
    assert "|".join(line.strip() for line in text.splitlines()[1:]).startswith(expected)


@pytest.mark.parametrize("header", ["a,b,a", "a,b,", "a,b,A", '"a",b,"x""y"', "a,b,\x01"])
def test_header_of_csv_with_names_that_no_column_can_have_gives_a_stream(
    header: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"{header}\n1,x,2.5\n,y,\n")
    code, text, _ = infer(capsys, str(file))
    is_twice = header.lower().endswith("a")
    column = "a DOUBLE,  -- named twice" if is_twice else "a BIGINT,"
    assert (code, text) == (0, f"CREATE STREAM rows (\n  {column}\n  b VARCHAR\n);\n")
    App(f"{text}SELECT a FROM rows;")

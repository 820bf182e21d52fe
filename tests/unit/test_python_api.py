"""The Python API: what notebooks and tests of users rely on."""

from __future__ import annotations

import subprocess
import sys

import pytest

import headrace
from headrace import App
from headrace.app.errors import HeadraceError
from headrace.app.values import ValueReader

SQL = """\
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1' SECOND);
CREATE TABLE per_second AS
SELECT symbol, window_start, COUNT(*) AS n FROM trades GROUP BY symbol WINDOW TUMBLING (at, INTERVAL '1' SECOND);
"""
ROWS = [{"symbol": "a", "price": 1.0, "at": at} for at in (0, 500, 1_000, 5_000, 100)]


@pytest.mark.parametrize("mode", ["single", "partitioned"])
def test_local_gives_records_final_values_and_counts(mode: str) -> None:
    result = headrace.App(SQL, name="trades").local(inputs={"trades": ROWS}, mode=mode, partitions=1)
    assert result.final("per_second") == {
        ("a", 0, 1_000): {"symbol": "a", "window_start": 0, "n": 2},
        ("a", 1_000, 2_000): {"symbol": "a", "window_start": 1_000, "n": 1},
        ("a", 5_000, 6_000): {"symbol": "a", "window_start": 5_000, "n": 1},
    }
    assert [record.timestamp for record in result.records] == [999, 1_999, 5_999]
    assert result.records[0].key == {"symbol": "a", "window_start": 0, "window_end": 1_000}
    assert (result.counts.read, result.counts.emitted, result.counts.late) == (5, 3, 1)
    assert [(letter.query, letter.kind) for letter in result.dead_letters] == [("per_second", "late")]


def test_app_shows_its_name_and_queries() -> None:
    assert repr(headrace.App(SQL, name="trades")) == "App('trades': per_second)"


def test_one_app_can_be_run_again() -> None:
    app = headrace.App(SQL)
    first = app.local(inputs={"trades": ROWS}, partitions=1)
    assert app.local(inputs={"trades": ROWS}, partitions=1).records == first.records


def test_wrong_sql_raises_sql_error_with_its_problems() -> None:
    with pytest.raises(headrace.SqlError) as caught:
        headrace.App(SQL + "SELECT a FROM b; SELECT c FROM d;")
    assert [problem.message for problem in caught.value.problems] == [
        "stream or table `b` does not exist",
        "stream or table `d` does not exist",
    ]


DEEP = f"{'[' * 5_000}{']' * 5_000}"


def test_record_key_that_nests_deeply_is_shown_as_text() -> None:
    key = f'{{"a":{DEEP}}}'
    app = headrace.App("CREATE STREAM s (k VARCHAR KEY, n INT); SELECT k, n FROM s;")
    (record,) = app.local(records=[{"topic": "s", "key": key, "value": {"n": 1}}]).records
    assert record.key == key


def test_json_of_csv_that_nests_deeply_is_a_dead_letter() -> None:
    app = headrace.App("CREATE STREAM s (n INT, j JSON) WITH (format = 'csv'); CREATE STREAM o AS SELECT n, j FROM s;")
    result = app.local(records=[{"topic": "s", "value": f"1,{DEEP}".encode()}])
    assert not result.records
    assert [(letter.kind, letter.message) for letter in result.dead_letters] == [
        ("type", "column `j` (JSON): nested too deeply")
    ]


def test_value_that_nests_deeper_than_can_be_read_is_shown_as_text() -> None:
    reader = ValueReader(headrace.App("CREATE STREAM s (j JSON); SELECT j FROM s;").logical.queries[0])
    value = f'{{"j":{DEEP}}}'
    assert reader.read(value.encode()) == value


def test_data_frame_is_taken_as_rows() -> None:
    class Frame:
        """As much of a DataFrame as is asked of one."""

        def __init__(self, rows: list[dict[str, object]]) -> None:
            self._rows = rows

        def astype(self, _: type) -> Frame:
            return self

        def notna(self) -> Frame:
            return self

        def where(self, _: object, __: object) -> Frame:
            return self

        def to_dict(self, orient: str) -> list[dict[str, object]]:
            assert orient == "records"
            return self._rows

    result = headrace.App(SQL).local(inputs={"trades": Frame(list(ROWS))}, partitions=1)
    assert result.counts.read == 5


def test_import_starts_no_loop_thread_or_client() -> None:
    code = (
        "import headrace, sys, threading; "
        "assert threading.active_count() == 1; "
        "assert not {'faust', 'aiokafka', 'confluent_kafka', 'rocksdict'} & set(sys.modules); "
        "headrace.App"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ("v VARCHAR", "format = 'raw'"),
        ("v BYTES", "format = 'raw'"),
        ("v BIGINT", "format = 'binary'"),
        ("v INT", "wrap_single_value = 'false'"),
    ],
)
def test_null_of_the_column_that_is_the_whole_value_is_a_null_value(columns: str, options: str) -> None:
    app = App(f"CREATE STREAM s ({columns}) WITH ({options}); SELECT v FROM s;")
    result = app.local({"s": [{"v": None}, {}]})
    assert result.records == []
    assert [letter.kind for letter in result.dead_letters] == ["tombstone"] * 2


def test_number_for_bytes_is_its_text_and_not_so_many_bytes() -> None:
    app = App("CREATE STREAM s (v BYTES) WITH (format = 'raw'); SELECT TO_BYTES('10', 'utf8') = v AS same FROM s;")
    assert [record.value for record in app.local({"s": [{"v": 10}, {"v": 10**16}]}).records] == [
        {"same": True},
        {"same": False},
    ]


def test_headers_of_envelopes_are_as_consume_prints_them() -> None:
    app = App("CREATE STREAM s (n INT); SELECT HEADER('h') AS h FROM s;")
    given = [None, {"base64": "eA=="}, ["a", "b"], "t", [None, "c"]]
    result = app.local(records=[{"value": {"n": 1}, "headers": {"h": header}} for header in given])
    assert [record.value for record in result.records] == [{"h": h} for h in (None, "x", "b", "t", "c")]


@pytest.mark.parametrize("headers", [[["h", "x"]], "x", {"h": 1}, {"h": {"base64": "!"}}, {"h": {"hex": "00"}}])
def test_headers_that_are_none_are_refused_with_their_record(headers: object) -> None:
    app = App("CREATE STREAM s (n INT); SELECT n FROM s;")
    with pytest.raises(HeadraceError, match="record 1: not an envelope"):
        app.local(records=[{"value": {"n": 1}, "headers": headers}])

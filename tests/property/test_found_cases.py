"""Cases that the properties found, each as it was when it was still a mistake."""

from __future__ import annotations

from typing import Any

import pytest
from tests.property.generators import EventRecord, Layout, Schedule, Step
from tests.property.replay import Replay

from headrace.app.application import App
from headrace.app.local import LocalResult
from headrace.sql.errors import SqlError
from headrace.sql.physical import Mode
from headrace.sql.types import BIGINT

SOURCE = "CREATE STREAM events (k VARCHAR, n BIGINT, d DECIMAL(12, 2), at TIMESTAMP, WATERMARK FOR at AS at);"


def local(sql: str, rows: list[dict[str, Any]], mode: str, parallelism: int | None = None) -> LocalResult:
    """Rows spread over three partitions."""
    records = [{"topic": "events", "partition": n % 3, "value": row} for n, row in enumerate(rows)]
    return App(sql).local(records=records, mode=mode, partitions=3, parallelism=parallelism)


@pytest.mark.parametrize("mode", Mode)
def test_windows_over_windows_by_another_key_stay_in_one_stage_in_mode_single(mode: Mode) -> None:
    sql = (
        f"{SOURCE} CREATE TABLE w AS SELECT k, COUNT(*) AS c FROM events WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY k;"
        "CREATE TABLE v AS SELECT c, COUNT(*) AS groups FROM w WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY c;"
    )
    result = local(sql, [{"k": str(n % 2), "at": n * 500} for n in range(12)], mode)
    assert result.final("v") == {(1, 0, 10_000): {"c": 1, "groups": 12}}


_NAMES = (
    *("order", "partition", "values", "like", "max", "left", "len", "str", "zip", "abs", "substring", "encode_json"),
    *("key_0", "count_0", "operand_0", "operand_1", "groups_0", "get_0", "dirty_0", "pane_0", "keys_0", "routes_0"),
    *("literal_0", "query_0", "end_0", "out_0", "acc", "time", "newest", "task", "in_bigint", "headers", "record_key"),
)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", _NAMES)
def test_a_column_may_have_any_name_that_generated_code_uses(name: str, mode: Mode) -> None:
    def results(column: str, changes: str) -> list[Any]:
        sql = f"""
            CREATE STREAM events ("{column}" VARCHAR, n BIGINT, s VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at);
            CREATE TABLE q WITH (changes = '{changes}') AS
            SELECT "{column}" AS v, n % 2 AS p, COUNT(*) AS c, FIRST_VALUE(s) AS f, LAST_VALUE("{column}") AS l,
                   MAX(LEFT("{column}", 2) || UPPER(SUBSTRING(s, 1, 1))) AS m, SUM(ABS(n) + LENGTH("{column}")) AS t
            FROM events WHERE s IN ('p', 'q') AND "{column}" LIKE 'ab%' AND GREATEST(n / 2, 0) < 1000
            GROUP BY "{column}", n % 2 HAVING COUNT(*) > 1;
            CREATE TABLE w AS SELECT "{column}" AS v, COUNT(*) AS c FROM events
            WINDOW TUMBLING (SIZE 50 MILLISECONDS) GROUP BY "{column}";"""
        result = local(sql, [{column: "abc"[: n % 4], "n": n, "s": "p", "at": n * 10} for n in range(20)], mode)
        assert not result.dead_letters
        return sorted((r.sink, str(r.value), r.timestamp) for r in result.records)

    for changes in ("every", "latest"):
        assert results(name, changes) == results("plain", changes)


def test_two_columns_of_one_name_that_generated_code_numbers_are_told_apart() -> None:
    source = 'CREATE STREAM events ("keys" INT, "KEYS" INT, "Keys" INT);'
    (record,) = (
        App(f'{source} SELECT "keys" + "KEYS" AS a, "Keys" AS b FROM events;')
        .local(inputs={"events": [{"keys": 1, "KEYS": 2, "Keys": 4}]})
        .records
    )
    assert record.value == {"a": 3, "b": 4}


_ORDERED_NAMES = (
    *("row", "time", "origin", "position", "key", "acc", "log", "history", "at", "gone", "past", "peers", "made"),
    *("before", "rank", "rows", "ahead", "until", "count", "dense", "rank_time"),
    *("rank_0", "top_0", "place_0", "entry_0", "wait_0", "taken_0", "get_1", "trim_2"),
    *("bisect_left", "enter", "backwards", "sum_double", "decimal_subtract"),
)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", _ORDERED_NAMES)
def test_a_column_may_have_any_name_that_generated_code_for_ordered_rows_uses(name: str, mode: Mode) -> None:
    def results(column: str) -> list[Any]:
        sql = f"""
            CREATE STREAM events ("{column}" DOUBLE, s VARCHAR, moment TIMESTAMP, WATERMARK FOR moment);
            CREATE STREAM o AS SELECT LAG("{column}", 2, "{column}") OVER w AS a, LEAD("{column}") OVER w AS b,
                   RANK() OVER w AS c, SUM("{column}") OVER (w RANGE INTERVAL '1' SECOND PRECEDING) AS d,
                   FIRST_VALUE("{column}") OVER w AS e, COUNT("{column}") OVER (w ROWS 200 PRECEDING) AS f,
                   "{column}" AS g
            FROM events WINDOW w AS (PARTITION BY s ORDER BY moment);
            CREATE TABLE t AS SELECT "{column}" AS v, s
            FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY s ORDER BY "{column}" DESC, s DESC) AS n FROM events)
            WHERE n <= 2 AND "{column}" < 15;"""
        result = local(sql, [{column: n * 0.75, "s": "pq"[n % 2], "moment": n // 2 * 400} for n in range(24)], mode)
        assert not result.dead_letters
        return sorted((r.sink, str(r.value), r.timestamp) for r in result.records)

    assert results(name) == results("plain")


@pytest.mark.parametrize("keys", ["n % 2, k IS NULL", "k IS NULL, n % 2"])
def test_keys_that_are_expressions_keep_their_values(keys: str) -> None:
    first, second = keys.split(", ")
    sql = f"{SOURCE} CREATE TABLE q AS SELECT {first} AS a, {second} AS b, COUNT(*) AS c FROM events GROUP BY {keys};"
    result = local(sql, [{"k": None, "n": 3, "at": 0}], Mode.SINGLE)
    expected = {"n % 2": 1, "k IS NULL": True}
    assert [record.value for record in result.records] == [{"a": expected[first], "b": expected[second], "c": 1}]


@pytest.mark.parametrize("parallelism", [1, 2, 4, 8])
@pytest.mark.parametrize("key", ["d", "d * -1", "ROUND(d, 0)", "CEIL(d)", "d % 1", "-0.0 * d", "- d"])
def test_zero_is_one_decimal_group(key: str, parallelism: int) -> None:
    sql = f"{SOURCE} CREATE TABLE q AS SELECT {key} AS zero, COUNT(*) AS c FROM events GROUP BY {key};"
    text = ['{"d":0.00,"at":0}', '{"d":-0.00,"at":0}', '{"d":"-0","at":0}', '{"d":0,"at":0}', '{"d":-0.0,"at":0}']
    records = [{"partition": n % 3, "value": value.encode()} for n, value in enumerate(text)]
    result = App(sql).local(records=records, partitions=3, parallelism=parallelism)
    ((value,),) = [[row] for row in result.final("q").values()]
    assert value == {"zero": 0, "c": 5}
    assert all(b"-" not in record.raw_value for record in result.records if record.raw_value)


@pytest.mark.parametrize("mode", Mode)
def test_a_finished_run_that_is_opened_again_emits_nothing_again(mode: Mode) -> None:
    app = App(f"{SOURCE} CREATE TABLE q AS SELECT k, COUNT(*) AS c FROM events GROUP BY k EMIT FINAL;")
    layout: Layout = ((EventRecord(None, b'{"k":"a","at":1}', 0, {}),), ())
    replay = Replay(app, mode, layout, 2)
    replay.run(Schedule((), again_at_end=True))
    assert [record.value for record in replay.emitted] == [b'{"k":"a","c":1}']


@pytest.mark.parametrize("type_", ["BYTES", "VARCHAR", "DECIMAL(3, 1)", "DOUBLE", "BOOLEAN", "DATE"])
@pytest.mark.parametrize("order", ["x", "x DESC", "x NULLS FIRST", "x DESC NULLS LAST"])
def test_top_n_by_any_type_is_read_back_from_its_state(type_: str, order: str) -> None:
    app = App(
        f"CREATE STREAM events (s VARCHAR, k INT); CREATE TABLE q AS SELECT k FROM (SELECT *, ROW_NUMBER() OVER "
        f"(ORDER BY {order}) AS n FROM (SELECT k, CAST(s AS {type_}) AS x FROM events)) WHERE n <= 3;"
    )
    texts = {"BOOLEAN": ('"true"', '"false"'), "DATE": ('"2024-01-01"', '"2024-01-02"')}.get(type_, ('"1"', '"2"'))
    values = [b'{"s":%s,"k":%d}' % (text.encode(), n) for n, text in enumerate((*texts, "null", *texts))]
    layout: Layout = ((*(EventRecord(None, value, 0, {}) for value in values),),)
    steps = (Step("read", 0, 3), Step("commit", None), Step("restart", None), Step("read", 0, 9))

    def results(*steps: Step) -> list[bytes | None]:
        replay = Replay(app, Mode.SINGLE, layout, 1)
        replay.run(Schedule(steps, again_at_end=False))
        return [record.value for record in replay.emitted]

    assert results(*steps) == results(steps[0], steps[1], steps[3])


@pytest.mark.parametrize("expression", ["GREATEST(n + 1, 2)", "LEAST(n * 2, n, 5)", "GREATEST(n, NULLIF(n, 3) + 1)"])
def test_greatest_and_least_take_expressions(expression: str) -> None:
    sql = f"{SOURCE} CREATE STREAM q AS SELECT {expression} AS v FROM events;"
    result = local(sql, [{"n": 3, "at": 0}, {"n": None, "at": 0}], Mode.SINGLE)
    assert len(result.records) == 2


@pytest.mark.parametrize("value", ['"Infinity"', '"NaN"', '"sNaN"', "1e400", "-1e400", "1e-400", "99999999999.99"])
def test_a_decimal_out_of_all_bounds_is_a_dead_letter(value: str) -> None:
    app = App(f"{SOURCE} CREATE STREAM q AS SELECT d FROM events;")
    result = app.local(records=[{"partition": 0, "value": f'{{"d":{value},"at":0}}'.encode()}], partitions=1)
    assert [letter.kind for letter in result.dead_letters] == ["type"]


@pytest.mark.parametrize("text", ["1e400", "-1e9999", "1e-9999"])
def test_a_text_cast_to_decimal_that_is_out_of_all_bounds_is_a_record_error(text: str) -> None:
    sql = f"{SOURCE} CREATE STREAM q AS SELECT TRY_CAST(k AS DECIMAL(10, 2)) AS v FROM events;"
    result = local(sql, [{"k": text, "at": 0}], Mode.SINGLE)
    assert [record.value for record in result.records] == [{"v": 0 if "e-" in text else None}]


def test_a_deeply_nested_value_is_a_dead_letter() -> None:
    app = App(f"{SOURCE} CREATE STREAM q AS SELECT k FROM events;")
    value = b'{"k":"a","at":0,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    result = app.local(records=[{"partition": 0, "value": value}], partitions=1)
    assert [letter.kind for letter in result.dead_letters] == ["malformed"]


def test_two_malformed_records_do_not_complete_each_other() -> None:
    app = App(f"{SOURCE} CREATE STREAM q AS SELECT k FROM events;")
    halves = [b'{"k":"a","at":0},{"k":"b","x":[{}', b'{}],"at":0}']
    result = app.local(records=[{"partition": 0, "value": half} for half in halves], partitions=1)
    assert not result.records
    assert [letter.kind for letter in result.dead_letters] == ["malformed", "malformed"]


@pytest.mark.parametrize("type_", ["VARCHAR", "BIGINT", "BOOLEAN", "DATE"])
def test_a_null_key_as_a_sink_writes_it_is_read_as_null(type_: str) -> None:
    writer = App("CREATE STREAM a (k VARCHAR, n INT); CREATE TABLE t AS SELECT k, COUNT(*) AS c FROM a GROUP BY k;")
    (written,) = writer.local(inputs={"a": [{"k": None, "n": 1}]}).records
    assert written.key is None
    reader = App(
        f"CREATE STREAM t (k {type_} KEY, c INT); CREATE TABLE q AS SELECT k, COUNT(*) AS c FROM t GROUP BY k;"
    )
    key = b'{"k":null}'
    values = [(key, written.raw_value), (None, written.raw_value), (key, b'{"c":1}')]
    result = reader.local(records=[{"partition": 0, "key": k, "value": v} for k, v in values], partitions=1)
    assert not result.dead_letters
    assert [record.value for record in result.records] == [{"k": None, "c": c} for c in (1, 2, 3)]


def test_a_deeply_nested_record_key_is_a_dead_letter() -> None:
    app = App("CREATE STREAM t (k INT KEY, m INT KEY, c INT); CREATE STREAM q AS SELECT k, c FROM t;")
    key = b'{"k":1,"m":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    result = app.local(records=[{"partition": 0, "key": key, "value": b'{"c":1}'}], partitions=1)
    assert [letter.kind for letter in result.dead_letters] == ["key"]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("time", [2**63 - 1, 2**63 - 500, 2**62 + 1, -(2**62) - 1, -(2**63)])
@pytest.mark.parametrize("type_", ["TIMESTAMP", "BIGINT"])
def test_an_event_time_out_of_all_bounds_is_a_dead_letter(type_: str, time: int, mode: Mode) -> None:
    sql = (
        f"CREATE STREAM events (k VARCHAR, at {type_}, WATERMARK FOR at AS at - INTERVAL '1' SECOND);"
        "CREATE TABLE w AS SELECT k, COUNT(*) AS c FROM events WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY k;"
    )
    result = local(sql, [{"k": "a", "at": at} for at in (1, 2, 3, time, 4, 5)], mode)
    assert [letter.kind for letter in result.dead_letters] == ["overflow"]
    assert [record.value for record in result.records] == [{"k": "a", "c": 5}]


@pytest.mark.parametrize("time", [2**63 - 1, -(2**63)])
def test_a_kafka_timestamp_out_of_all_bounds_is_a_dead_letter(time: int) -> None:
    app = App(
        "CREATE STREAM t (k VARCHAR);"
        "CREATE TABLE w AS SELECT k, COUNT(*) AS c FROM t WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY k;"
    )
    records = [{"partition": 0, "value": {"k": "a"}, "timestamp": at} for at in (1, time, 2)]
    result = app.local(records=records, partitions=1)
    assert [letter.kind for letter in result.dead_letters] == ["overflow"]
    assert [record.value for record in result.records] == [{"k": "a", "c": 2}]


@pytest.mark.parametrize(
    "text",
    ["ELSE", "SELECT CAST(k AS DECIMAL(k)) FROM events", "SELECT k FROM GROUP ? k", "SELECT 1e400 AS v FROM events"]
    + [f"SELECT at + INTERVAL '{amount}' SECOND AS v FROM events" for amount in ("NaN", "sNaN", "Infinity", "1e9999")]
    + ["SELECT k, COUNT(*) AS c FROM events WINDOW TUMBLING (SIZE 1e9999999 SECONDS) GROUP BY k"],
)
def test_a_text_that_cannot_be_meant_is_an_sql_error(text: str) -> None:
    with pytest.raises(SqlError):
        App(f"{SOURCE} {text};")


@pytest.mark.filterwarnings("error::SyntaxWarning")
def test_a_constant_that_is_asked_for_null_warns_nobody() -> None:
    app = App(f"{SOURCE} CREATE STREAM q AS SELECT k FROM events WHERE 1 IS NOT NULL AND 'x' IS NULL OR k IS NULL;")
    assert app.local(inputs={"events": [{"at": 0}]}).counts.emitted == 1


@pytest.mark.parametrize("mode", ["single", "partitioned"])
def test_key_column_that_is_called_as_the_window_is_not_taken_for_it(mode: str) -> None:
    app = App(
        "CREATE STREAM s (window_start BIGINT, at TIMESTAMP, WATERMARK FOR at);"
        "CREATE TABLE t AS SELECT s.window_start AS w, COUNT(*) AS n FROM s "
        "GROUP BY s.window_start WINDOW TUMBLING (SIZE 1 MINUTE);"
    )
    rows = [{"window_start": 7, "at": 1}, {"window_start": 8, "at": 2}]
    final = app.local({"s": rows}, mode=mode).final("t")
    assert final == {(7, 0, 60_000): {"w": 7, "n": 1}, (8, 0, 60_000): {"w": 8, "n": 1}}


@pytest.mark.parametrize("mode", Mode)
def test_rows_that_come_at_the_end_of_a_run_come_for_windows_of_any_time(mode: Mode) -> None:
    sql = (
        f"{SOURCE} CREATE TABLE a AS SELECT k, COUNT(*) AS c FROM events GROUP BY k EMIT FINAL;"
        "CREATE TABLE b AS SELECT c, COUNT(*) AS groups FROM a GROUP BY c WINDOW TUMBLING (SIZE 1 SECOND) EMIT FINAL;"
    )
    result = local(sql, [{"k": "a", "at": 100}, {"k": "b", "at": 1_200}, {"k": "c", "at": 9_000}], mode)
    assert result.counts.late_after_idle == 0
    assert sorted(key[1] for key in result.final("b")) == [0, 1_000, 9_000]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("where", ["", " WHERE n IS NOT NULL"])
@pytest.mark.parametrize("operand", ["10 / COALESCE(n, 0)", "10 / n", "CAST(COALESCE(k, 'x') AS DATE)"])
def test_count_of_what_is_never_null_still_meets_its_errors(operand: str, where: str, mode: Mode) -> None:
    sql = f"{SOURCE} CREATE TABLE q AS SELECT COUNT({operand}) AS c, COUNT(*) AS r FROM events{where} EMIT FINAL;"
    result = local(sql, [{"k": "2000-02-29", "n": 5, "at": 0}, {"k": "x", "n": 0, "at": 1}], mode)
    assert [record.value for record in result.records] == [{"c": 1, "r": 1}]
    assert len(result.dead_letters) == 1


_MIXED = (
    *("COALESCE(i, n)", "NVL(i, n)", "IF(i > 0, n, i)", "CASE WHEN i > 0 THEN i WHEN i IS NULL THEN n ELSE i END"),
    *("ARRAY[i, n][2]", "MAP('a', i, 'b', n)['b']", "LAG(i, 1, n) OVER (ORDER BY at)"),
)


@pytest.mark.parametrize("mixed", _MIXED)
def test_int_mixed_with_bigint_is_bigint(mixed: str) -> None:
    app = App(f"CREATE STREAM t (i INT, n BIGINT, at TIMESTAMP, WATERMARK FOR at); SELECT {mixed} * 2 AS v FROM t;")
    result = app.local(inputs={"t": [{"i": None, "n": 2**40, "at": 0}, {"i": 2**31 - 1, "n": 2**40, "at": 1}]})
    assert not result.dead_letters
    assert app.logical.queries[0].node.columns[0].type == BIGINT

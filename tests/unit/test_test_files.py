"""`headrace test`: what test files can say, when their tests hold, and how a failure reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace.app.cli import run_command
from headrace.app.testing.cases import UnmetError, check_in_modes
from headrace.sql.physical import Mode

ROOT = Path(__file__).parents[2]
SQL = """\
CREATE STREAM trades (symbol VARCHAR KEY, price DECIMAL(10, 2), n INT, at TIMESTAMP, WATERMARK FOR at)
WITH (topic = 'trades', partitions = 4);
CREATE TABLE totals AS
SELECT symbol, COUNT(*) AS trades, SUM(price) AS total, AVG(n) AS mean FROM trades GROUP BY symbol;
CREATE STREAM large AS SELECT symbol, price, at FROM trades WHERE price > 10;
CREATE TABLE minutes AS SELECT symbol, window_end, COUNT(*) AS c FROM trades GROUP BY symbol WINDOW TUMBLING (1m);
"""
FEED = "    inputs:\n      trades:\n        - {symbol: a, price: 12.50, n: 1, at: 1970-01-01T00:00:01Z}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trades.sql").write_text(SQL)
    return tmp_path


class Runner:
    """Runs `headrace test` over a text."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, text: str, *arguments: str, file: str = "t.yaml") -> tuple[int, str]:
        """Exit code, and what stderr says."""
        Path(file).write_text(text)
        code = run_command(["test", file, *arguments])
        captured = self._capsys.readouterr()
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in captured.out.splitlines()]
        return code, captured.err

    def body(self, body: str, top: str = "") -> tuple[int, str]:
        """A test over trades.sql, by what stands below its name."""
        return self(f"app: trades.sql\n{top}tests:\n  - name: it\n{body}")


@pytest.fixture
def runner(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


# YAML


def test_results_are_json_lines_and_failures_exit_with_1(runner: Runner) -> None:
    text = f"app: trades.sql\ntests:\n  - name: one\n{FEED}    counts: {{read: 1}}\n"
    text += f"  - name: two\n{FEED}    expect:\n      large: [{{symbol: a, price: 12.60, at: 1000}}]\n"
    code, err = runner(text)
    assert code == 1
    assert runner.lines == [
        {"file": "t.yaml", "line": 3, "test": "one", "result": "ok"},
        {"file": "t.yaml", "line": 8, "test": "two", "result": "failed"},
        {"passed": 1, "failed": 1},
    ]
    assert err.splitlines() == [
        "t.yaml:8: two",
        "  `large`: record 1 differs",
        '    expected {"symbol":"a","price":12.60,"at":1000}',
        '    got      {"symbol":"a","price":12.50,"at":1000}',
        "                                      ^",
    ]


HOLDS = {
    "numbers are compared by value": "    expect: {large: [{symbol: a, price: 12.5, at: 1000}]}\n",
    "names match without regard to case": "    expect: {LARGE: [{Symbol: a, PRICE: 12.5, at: 1000}]}\n",
    "times may be text": "    expect: {large: [{symbol: a, price: 12.5, at: 1970-01-01T00:00:01Z}]}\n",
    "whole records": "    expect: {large: [{key: a, value: {symbol: a, price: 12.5, at: 1000}, timestamp: 1000}]}\n",
    "windows close at the end": "    expect: {minutes: [{symbol: a, window_end: 60000, c: 1}]}\n",
    "columns of the key": "    expect: {minutes: [{symbol: a, window_start: 0, window_end: 60000, c: 1}]}\n",
    "final rows": "    final: {totals: [{symbol: a, trades: 1, total: 12.5, mean: 1}]}\n",
    "counts": "    counts: {read: 1, emitted: 3, late: 0, dead_lettered: 0, skipped: 0}\n",
    "one mode": "    modes: [single]\n    counts: {read: 1}\n",
    "several partitions": "    partitions: 8\n    counts: {read: 1}\n",
}


@pytest.mark.parametrize("expectation", HOLDS.values(), ids=HOLDS.keys())
def test_expectation_holds(expectation: str, runner: Runner) -> None:
    assert runner.body(FEED + expectation) == (0, "")


FAILS = {
    "a record too few": (
        "    expect: {large: []}\n",
        '`large`: expected 0 records, got 1\n    got      {"symbol":"a","price":12.50,"at":1000}',
    ),
    "a record too many": (
        "    expect: {large: [{symbol: a, price: 12.5, at: 1000}, {symbol: b}]}\n",
        '`large`: expected 2 records, got 1\n    expected {"symbol":"b","price":null,"at":null}',
    ),
    "a column that is left out is NULL": ("    expect: {large: [{symbol: a, price: 12.5}]}\n", '"at":null}'),
    "another timestamp": (
        "    expect: {large: [{value: {symbol: a, price: 12.5, at: 1000}, timestamp: 7}]}\n",
        '"timestamp":7',
    ),
    "a row, not a tombstone": ("    expect: {large: [{key: a, value: null}]}\n", '"value":null}'),
    "another final row": ("    final: {totals: [{symbol: b}]}\n", "final `totals`: record 1 differs"),
    "another count": ("    counts: {read: 2}\n", "counts: expected read 2, got 1"),
    "a dead letter that is missing": (
        "    dead_letters: [{class: type}]\n",
        'there is no dead letter {"class":"type"}',
    ),
    "an error that is missing": ("    error: wrong\n", "expected an error, and there was none"),
}


@pytest.mark.parametrize(("expectation", "told"), FAILS.values(), ids=FAILS.keys())
def test_expectation_fails(expectation: str, told: str, runner: Runner) -> None:
    code, err = runner.body(FEED + expectation)
    assert code == 1
    assert told in err


SLIPS = {
    "a name of a sink": (
        "    expect: {lage: []}\n",
        "t.yaml:4: `lage` is no sink of the app\n    hint: did you mean `large`?",
    ),
    "a column of a sink": (
        "    expect:\n      large:\n        - {symbl: a}\n",
        "t.yaml:6: `large` has no column `symbl`\n    hint: did you mean `symbol`?",
    ),
    "a source": (
        "    inputs: {trade: []}\n    counts: {}\n",
        "t.yaml:4: `trade` is no stream that a query of the app reads\n    hint: did you mean `trades`?",
    ),
    "a column of a source": (
        "    inputs:\n      trades:\n        - {symbol: a}\n        - {symbl: a}\n    counts: {}\n",
        "t.yaml:7: `trades` has no column `symbl`\n    hint: did you mean `symbol`?",
    ),
    "a part of a record": (
        "    inputs:\n      trades:\n        - {value: {symbol: a}, timestamp: x}\n    counts: {}\n",
        "t.yaml:6: `timestamp` should be a valid integer",
    ),
    "a setting": ("    settings: {lat: drop}\n    counts: {}\n", "t.yaml:4: unknown setting `lat`"),
    "the value of a setting": (
        "    settings: {late: maybe}\n    counts: {}\n",
        "t.yaml:4: `maybe` is not a value of `late`",
    ),
    "a partition": ("    records: [{topic: trades, value: {n: 1}, partition: 3}]\n    counts: {}\n", "no partition 3"),
    "a slip is not the error that is expected": (
        "    expect: {lage: []}\n    error: lage\n",
        "t.yaml:4: `lage` is no sink",
    ),
}


@pytest.mark.parametrize(("body", "told"), SLIPS.values(), ids=SLIPS.keys())
def test_slip_in_a_test_fails_it_with_its_line(body: str, told: str, runner: Runner) -> None:
    code, err = runner.body(body)
    assert code == 1
    assert told in err


def test_sink_without_a_key_has_no_final_rows(runner: Runner) -> None:
    text = "sql: CREATE STREAM s (a INT); SELECT a FROM s\ntests:\n  - name: it\n    final: {result: []}\n"
    code, err = runner(text)
    assert code == 1
    assert "t.yaml:4: `result` has no key, so no final rows" in err


WRONG_FILES = {
    "unknown name": (
        "app: trades.sql\ntests:\n  - name: it\n    expct: {}\n    counts: {}\n",
        "t.yaml:4: unknown name `expct`; did you mean `expect`?",
    ),
    "unknown name of a count": (
        "app: trades.sql\ntests:\n  - name: it\n    counts: {reed: 1}\n",
        "t.yaml:4: unknown name `reed`; did you mean `read`?",
    ),
    "unknown name of a dead letter": (
        "app: trades.sql\ntests:\n  - name: it\n    dead_letters:\n      - {clas: type}\n",
        "t.yaml:5: unknown name `clas`; did you mean `class`?",
    ),
    "unknown name of a record": (
        "app: trades.sql\ntests:\n  - name: it\n    records:\n      - {value: {}, tpic: t}\n    counts: {}\n",
        "t.yaml:5: unknown name `tpic`; did you mean `topic`?",
    ),
    "a wrong part of a record": (
        "app: trades.sql\ntests:\n  - name: it\n    records:\n      - {value: {}, headers: [a]}\n    counts: {}\n",
        "t.yaml:5: `tests.0.records.0.headers` should be a valid mapping",
    ),
    "name missing": ("app: trades.sql\ntests:\n  - counts: {}\n", "t.yaml:3: `name` is missing"),
    "another type": (
        "app: trades.sql\npartitions: many\ntests: []\n",
        "t.yaml:2: `partitions` should be a valid integer",
    ),
    "unknown mode": ("app: trades.sql\nmodes: [double]\ntests: []\n", "t.yaml:2: `modes.0` should be 'single' or"),
    "no YAML": ("app: [\n", "t.yaml:2: not YAML: "),
    "a name twice": ("app: a\napp: b\n", "t.yaml:2: `app` stands twice"),
    "a value that holds itself": ("app: &a [*a]\n", "t.yaml:1: a value that holds itself"),
    "a tag": ("app: !!python/name:os.system x\n", "t.yaml:1: a value with the tag"),
    "nothing": ("", "t.yaml:1: a test file has `app` or `sql`, and `tests`"),
    "app and sql": (
        "app: trades.sql\nsql: SELECT\ntests: [{name: it, counts: {}}]\n",
        "t.yaml:1: a test file has either",
    ),
    "no such app": ("app: other.sql\ntests: [{name: it, counts: {}}]\n", "t.yaml:1: there is no file `other.sql`"),
    "no expectation": ("app: trades.sql\ntests: [{name: it}]\n", "t.yaml:2: test `it` expects nothing"),
    "one name for two": (
        "app: trades.sql\ntests:\n  - {name: it, counts: {}}\n  - {name: it, counts: {}}\n",
        "t.yaml:4: two tests are called `it`",
    ),
}


@pytest.mark.parametrize(("text", "told"), WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_wrong_file_is_refused_with_its_line(text: str, told: str, runner: Runner) -> None:
    code, err = runner(text)
    assert code == 1
    assert err.startswith("error: ")
    assert told in err
    assert "Traceback" not in err


def test_dead_letters_are_expected_or_fail_the_test(runner: Runner) -> None:
    bad = "    inputs:\n      trades:\n        - {symbol: a, n: x, at: 1}\n"
    code, err = runner.body(bad + "    counts: {read: 1}\n")
    assert code == 1
    assert err.splitlines()[1:3] == [
        "  dead letters that are not expected:",
        "    totals: type: column `n` (INT): Expected `int | null`, got `str` (t.yaml:6)",
    ]
    assert runner.body(bad + "    dead_letters: [{query: totals, class: type, message: column `n`}]\n") == (0, "")


def test_dead_letters_stand_beside_what_is_missing(runner: Runner) -> None:
    body = "    inputs:\n      trades:\n        - {symbol: a, n: x, at: 1}\n    expect: {totals: [{symbol: a}]}\n"
    _, err = runner.body(body)
    assert "dead letter of totals: type: column `n` (INT)" in err


def test_records_are_taken_in_order_with_all_their_parts(runner: Runner) -> None:
    text = """\
sql: |
  CREATE STREAM s (a INT);
  SELECT a FROM s;
tests:
  - name: it
    records:
      - {topic: s, key: k, value: {a: 1}, timestamp: 5, headers: {h: x}}
      - {key: null, value: {a: 2}}
    expect:
      result:
        - {key: k, value: {a: 1}, timestamp: 5, headers: {h: x}}
        - {key: null, value: {a: 2}, timestamp: 0, headers: {}}
"""
    assert runner(text) == (0, "")


def test_order_is_compared_in_one_partition_only(runner: Runner) -> None:
    rows = "    inputs: {trades: [{symbol: a, price: 11, at: 1}, {symbol: b, price: 12, at: 1}]}\n"
    swapped = "    expect: {large: [{symbol: b, price: 12, at: 1}, {symbol: a, price: 11, at: 1}]}\n"
    assert runner.body(rows + swapped)[0] == 1
    assert runner.body(rows + swapped, top="partitions: 2\n") == (0, "")


def test_doubles_are_the_same_up_to_their_last_digits(runner: Runner) -> None:
    text = "sql: CREATE STREAM s (x DOUBLE); SELECT SUM(x) AS x FROM s EMIT FINAL\ntests:\n  - name: it\n"
    text += "    inputs: {s: [{x: 0.1}, {x: 0.2}]}\n    expect: {result: [{x: %s}]}\n"
    assert runner(text % "0.3") == (0, "")
    assert runner(text % "0.30001")[0] == 1


def test_expected_error_is_a_part_of_the_message(runner: Runner) -> None:
    text = "sql: SELECT prise FROM trades\ntests:\n  - {name: it, error: %s}\n"
    assert runner(text % "stream or table `trades` does not exist") == (0, "")
    code, err = runner(text % "other")
    assert code == 1
    assert "expected an error with `other`, got\n  t.yaml (sql):1:19: error:" in err


def test_run_that_stops_is_an_error_too(runner: Runner) -> None:
    bad = "    inputs: {trades: [{symbol: a, n: x, at: 1}]}\n    error: column `n`\n"
    assert runner.body(bad, top="settings: {on_error: fail}\n") == (0, "")


def test_settings_of_a_test_come_before_those_of_the_file_and_of_the_command(runner: Runner) -> None:
    rows = "    inputs: {trades: [{symbol: a, n: x, at: 1}]}\n"
    text = f"app: trades.sql\nsettings: {{on_error: fail}}\ntests:\n  - name: it\n{rows}"
    text += "    settings: {on_error: skip}\n    counts: {skipped: 1}\n"
    assert runner(text, "--set", "on_error=dead_letter") == (0, "")


def test_modes_that_differ_are_named() -> None:
    def check(mode: Mode) -> None:
        if mode is Mode.PARTITIONED:
            raise UnmetError("other")

    with pytest.raises(UnmetError, match=r"^mode single: ok\nmode partitioned: other$"):
        check_in_modes([Mode.SINGLE, Mode.PARTITIONED], check)


# The command


def test_tests_are_chosen_by_a_part_of_their_name(runner: Runner) -> None:
    text = "app: trades.sql\ntests:\n  - {name: First one, counts: {}}\n  - {name: second, counts: {}}\n"
    assert runner(text, "-k", "FIRST") == (0, "")
    assert runner.lines[-1] == {"passed": 1, "failed": 0}
    code, err = runner(text, "-k", "third")
    assert code == 2
    assert err == "error: no test has `third` in its name\n  hint: known: First one, second\n"


@pytest.mark.parametrize(("file", "told"), [("t.txt", "unknown kind of test file"), ("none.sql", "No such file")])
def test_file_that_is_none_is_refused(file: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["test", file]) in (1, 2)
    assert told in capsys.readouterr().err


# SQL


KSQLDB = """\
-- the statements before the first test are part of each
CREATE STREAM foo (id INT KEY, col1 INT) WITH (kafka_topic='foo', value_format='JSON');

----------------------------------------------------------------------------------------------------
--@test: values with their time
----------------------------------------------------------------------------------------------------
CREATE STREAM bar WITH (kafka_topic='BAR') AS SELECT * FROM foo;
ASSERT STREAM bar (id INT KEY, col1 INT) WITH (kafka_topic='BAR', value_format='JSON');
INSERT INTO foo (rowtime, id, col1) VALUES (1, 1, 1);
ASSERT VALUES bar (rowtime, id, col1) VALUES (1, 1, 1);

--@test: a table, a tombstone
CREATE TABLE bar AS SELECT id, COUNT(*) AS count FROM foo GROUP BY id HAVING COUNT(*) < 2;
ASSERT TABLE bar (id INT PRIMARY KEY, count BIGINT);
INSERT INTO foo (rowtime, id, col1) VALUES (1, 1, 1);
ASSERT VALUES bar (rowtime, id, count) VALUES (1, 1, 1);
INSERT INTO foo (rowtime, id, col1) VALUES (2, 1, 1);
ASSERT NULL VALUES bar (rowtime, id) KEY (2, 1);

--@test: windows close behind the last insert
CREATE TABLE bar AS SELECT id, COUNT(*) AS count FROM foo WINDOW TUMBLING (SIZE 1 MINUTE) GROUP BY id;
INSERT INTO foo (rowtime, id, col1) VALUES (1, 1, 1), (2, 1, 1);
ASSERT VALUES bar (id, windowstart, windowend, count) VALUES (1, 0, 60000, 2);

--@test: several rows, all columns
CREATE STREAM bar WITH (key_in_value = 'false') AS SELECT * FROM foo;
INSERT INTO foo VALUES (1, 1), (2, 2);
ASSERT VALUES bar VALUES (1, 1), (2, 2);

--@test: bad assert statement should fail
--@expected.error: java.lang.AssertionError
--@expected.message: record 1 of `bar` differs
CREATE STREAM bar AS SELECT * FROM foo;
INSERT INTO foo (rowtime, id, col1) VALUES (1, 1, 1);
ASSERT VALUES bar (rowtime, id, col1) VALUES (2, 2, 2);

--@test: bad engine statement should fail
--@expected.error: io.confluent.ksql.util.KsqlException
--@expected.message: stream or table `food` does not exist
CREATE STREAM bar AS SELECT * FROM food;
"""


def test_test_file_of_ksqldb_runs(runner: Runner) -> None:
    assert runner(KSQLDB, file="k.sql") == (0, "")
    assert [line["line"] for line in runner.lines[:-1]] == [5, 12, 20, 25, 30, 37]
    assert runner.lines[0]["test"] == "values with their time"


BAR = "CREATE STREAM foo (id INT KEY, col1 INT);\nCREATE STREAM bar AS SELECT * FROM foo;\n"
ONE = BAR + "INSERT INTO foo (rowtime, id, col1) VALUES (1, 1, 1);\n"
BAD_RESULT = """\
CREATE STREAM foo (a INT);
SELECT 1 / a AS x FROM foo;
INSERT INTO foo VALUES (0);
ASSERT VALUES result VALUES (1);
"""
OTHER_VALUE = """\
  k.sql:4: record 1 of `bar` differs
    expected {"ROWTIME":1,"id":1,"col1":2}
    got      {"ROWTIME":1,"id":1,"col1":1}
                                        ^
"""
SQL_FAILURES = {
    "another value": (ONE + "ASSERT VALUES bar (rowtime, id, col1) VALUES (1, 1, 2);\n", OTHER_VALUE),
    "another time": (ONE + "ASSERT VALUES bar (rowtime, id, col1) VALUES (2, 1, 1);\n", "k.sql:4: record 1"),
    "columns that are not named are NULL": (ONE + "ASSERT VALUES bar (id) VALUES (1);\n", '{"id":1,"col1":null}'),
    "no record": (BAR + "ASSERT VALUES bar VALUES (1, 1);\n", "k.sql:3: `bar` has no record 1"),
    "a later record is not seen": (
        BAR + "ASSERT VALUES bar VALUES (1, 1);\nINSERT INTO foo VALUES (1, 1);\n",
        "k.sql:3: `bar` has no record 1",
    ),
    "a record is read once": (
        ONE + "ASSERT VALUES bar VALUES (1, 1);\nASSERT VALUES bar VALUES (1, 1);\n",
        "k.sql:5: `bar` has no record 2",
    ),
    "no tombstone": (ONE + "ASSERT NULL VALUES bar (id) KEY (1);\n", 'expected the tombstone of {"id":1}'),
    "another kind": (BAR + "ASSERT TABLE bar (id INT PRIMARY KEY, col1 INT);\n", "`bar`: expected TABLE, got STREAM"),
    "another type": (BAR + "ASSERT STREAM bar (id INT KEY, col1 BIGINT);\n", "columns of `bar` differ"),
    "no key": (BAR + "ASSERT STREAM bar (id INT, col1 INT);\n", "columns of `bar` differ"),
    "another topic": (
        BAR + "ASSERT STREAM bar WITH (topic = 'baz');\n",
        "`topic` of `bar`: expected baz, got bar",
    ),
    "another key format": (BAR + "ASSERT STREAM bar WITH (key_format = 'json');\n", "`key_format` of `bar`"),
    "an option that is not compared": (
        BAR + "ASSERT STREAM bar WITH (late = 'drop');\n",
        "k.sql:3:25: error: unknown option of ASSERT `late`",
    ),
    "no sink": (BAR + "ASSERT VALUES baz VALUES (1);\n", "k.sql:3:15: error: `baz` is no sink of the app"),
    "no column": (
        ONE + "ASSERT VALUES bar (cl1) VALUES (1);\n",
        "k.sql:4:20: error: column `cl1` does not exist in `bar`",
    ),
    "a dead letter": (
        BAD_RESULT,
        "dead letter of result: division_by_zero: division by zero (k.sql:3)",
    ),
    "SQL that is wrong": (BAR + "SELECT x FROM foo;\n", "k.sql:3:8: error: column `x` does not exist"),
    "SQL that cannot be read": (BAR + "SELECT FROM;\n", "k.sql:3:"),
    "no error": ("--@test: t\n--@expected.error: x\n" + BAR, "expected an error, and there was none"),
    "another error": (
        "--@test: t\n--@expected.message: other\nSELECT x FROM foo;\n",
        "expected an error with `other`, got\n  k.sql:3:15: error: stream or table `foo` does not exist",
    ),
    "an error, not a failing ASSERT": (
        "--@test: t\n--@expected.error: AssertionError\nSELECT x FROM foo;\n",
        "expected a failing ASSERT, got an error",
    ),
    "no script": ("RUN SCRIPT 'none.sql';\n", "k.sql:1:12: error: there is no file `none.sql`"),
}


@pytest.mark.parametrize(("text", "told"), SQL_FAILURES.values(), ids=SQL_FAILURES.keys())
def test_sql_test_fails(text: str, told: str, runner: Runner) -> None:
    code, err = runner(text, file="k.sql")
    assert code == 1
    assert told in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("--@tset: t\n", "k.sql:1: unknown directive `@tset`\n  hint: did you mean `test`?"),
        ("--@expected.error: x\n--@test: t\n", "k.sql:1: `@expected.error` stands before the first `@test`"),
        (
            "--@test: t\n--@expected.error: x\n--@expected.error: y\n",
            "k.sql:3: `@expected.error` stands twice in a test",
        ),
        ("--@test:\n", "k.sql:1: `@test` says nothing"),
    ],
)
def test_wrong_directive_is_refused(text: str, told: str, runner: Runner) -> None:
    assert runner(text, file="k.sql") == (1, f"error: {told}\n")


def test_script_is_run_in_its_place_and_its_mistakes_have_its_name(runner: Runner) -> None:
    test = "RUN SCRIPT 'trades.sql';\nINSERT INTO trades (symbol, price, at) VALUES ('a', 11, 1);\n"
    test += "ASSERT VALUES large VALUES ('a', 11, 1);\n"
    assert runner(test, file="k.sql") == (0, "")
    Path("trades.sql").write_text(SQL.replace("price > 10", "prise > 10"))
    _, err = runner(test, file="k.sql")
    assert "  trades.sql:5:67: error: column `prise` does not exist" in err


def test_file_without_directives_is_one_test_with_its_name(runner: Runner) -> None:
    assert runner(ONE + "ASSERT VALUES bar VALUES (1, 1);\n", file="bars.headrace.sql") == (0, "")
    assert runner.lines[0]["test"] == "bars"


FORMATS = """\
CREATE STREAM t (k VARCHAR KEY, n INT, s VARCHAR) WITH (format = 'csv');
CREATE STREAM o WITH (format = 'csv') AS SELECT k, n, s FROM t;
CREATE TABLE c WITH (format = 'binary') AS SELECT s, COUNT(*) AS n FROM t GROUP BY s;
INSERT INTO t VALUES ('a', 1, 'x,y');
"""


def test_sinks_of_other_formats_are_compared_by_their_columns(runner: Runner) -> None:
    good = "ASSERT VALUES o (k, n, s) VALUES ('a', 1, 'x,y');\nASSERT VALUES c (s, n) VALUES ('x,y', 1);\n"
    assert runner(FORMATS + good, file="f.sql") == (0, "")
    assert runner(FORMATS + "ASSERT VALUES o (k, n) VALUES ('a', 2);\n", file="f.sql")[0] == 1


def test_tests_of_the_example_pass(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert run_command(["test", "examples/flights/flights.headrace.yaml"]) == 0

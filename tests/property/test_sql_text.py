"""Any text is statements or an SqlError: nothing else comes out of parsing, binding, planning and compiling."""

from __future__ import annotations

import time

from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from tests.property.sql_texts import changed_texts

from headrace.app.application import App
from headrace.sql.errors import SqlError, printable
from headrace.sql.physical import Mode

EXAMPLES = settings().max_examples
MOST_SECONDS = 5
"""Of processor time for a text of the corpus, which compiles in a fraction of one."""
SOURCE = (
    "CREATE STREAM events (k VARCHAR KEY, b BOOLEAN NOT NULL, n BIGINT, i INT UNSIGNED, x DOUBLE, d DECIMAL(12, 2), "
    "\"Odd name\" VARCHAR, day DATE, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5' SECOND) "
    "WITH (topic = 'events', format = 'json', partitions = 4);"
)
CORPUS = tuple(
    """
CREATE TABLE t WITH (topic = 'out', changes = 'latest') AS SELECT k, COUNT(*) AS c, AVG(x) AS a FROM events
WHERE n > 0 AND k LIKE 'a%' GROUP BY k HAVING COUNT(*) > 1 EMIT CHANGES;

CREATE TABLE t AS SELECT k, window_start, SUM(d) AS s FROM events
WINDOW TUMBLING (SIZE 1 MINUTE, GRACE PERIOD 10 SECONDS) GROUP BY k EMIT FINAL;

CREATE STREAM s AS SELECT * FROM events WHERE b IS NOT TRUE OR n NOT IN (1, 2, NULL);

SELECT CAST(n AS VARCHAR) || 'x', CASE WHEN b THEN 1 ELSE 2.5 END, COALESCE(k, "Odd name") FROM events AS e;

SELECT k, TUMBLE_START(at, INTERVAL '1' HOUR) FROM events GROUP BY k, TUMBLE(at, INTERVAL '1' HOUR);

SELECT window_end, COUNT(DISTINCT k) FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(at), INTERVAL '5' MINUTES))
GROUP BY window_start, window_end;

SELECT window_start, MAX(day) FROM TUMBLE(events, at, INTERVAL '1' DAY) GROUP BY window_start;

INSERT INTO s SELECT UPPER(k), ABS(-n), ROUND(x, 2), DATE_TRUNC('hour', at) FROM events;

SET 'emit' = 'final'; EXPLAIN SELECT SUBSTRING(k FROM 2 FOR 3), EXTRACT(HOUR FROM at) FROM events;

SELECT FIRST_VALUE(x) AS f, LAST_VALUE(x) AS l, MIN(k) FROM events GROUP BY n % 3, b, 1.5e0 > x;

SELECT TRY_CAST(k AS DATE), GREATEST(n, i, 3), k IS DISTINCT FROM 'a', x BETWEEN -1 AND 1e10 FROM events;
""".strip().split("\n\n")
)
_WORDS = """
SELECT FROM WHERE GROUP BY HAVING WINDOW TUMBLING TUMBLE SIZE GRACE PERIOD EMIT CHANGES FINAL CREATE STREAM TABLE AS
INSERT INTO WITH SET EXPLAIN AND OR NOT NULL IS IN LIKE BETWEEN CASE WHEN THEN ELSE END CAST COUNT SUM DISTINCT
INTERVAL MINUTE DECIMAL VARCHAR KEY PRIMARY WATERMARK FOR DESCRIPTOR OVER PARTITION ORDER LIMIT JOIN UNION VALUES
ON ( ) , . ; * + - / % = <> < >= || :: -> ? @ # $ ! ~ ^ & | [ ] { } \\ ' " ` -- /* */ 0 1 1.5 1e400 '1' '' '1m'
"k" `n` k n i x d b day at e events t s nosuch count window_start 99999999999999999999 0x1F 1_000 1e9999999 .5 5.
é 𝒳 'yyyy' topic timestamp_format changes retention DROP SHOW DESCRIBE QUALIFY LATERAL TRUE NOW() MATERIALIZED VIEW
CURRENT_TIMESTAMP DATE TIMESTAMP ARRAY MAP STRUCT ROW EXISTS ANY ALL ESCAPE FILTER WITHIN SESSION HOP
"""
_TOKENS = st.sampled_from([*_WORDS.split(), "'a b'", "'1 MINUTE'", "'yyyy yyyy'", "'a\0b'", "\n", "GROUP BY"])


def assert_shown(error: SqlError, text: str) -> None:
    event("refused")
    assert error.problems
    shown = str(error)
    for problem in error.problems:
        assert printable(problem.message) in shown
        if problem.span is not None:
            assert 0 <= problem.span.start <= problem.span.end <= len(text) + 1


def assert_read_or_refused(text: str) -> None:
    try:
        app = App(text)
    except SqlError as error:
        assert_shown(error, text)
        return
    if not app.logical.queries:
        event("nothing to run")
        return
    event("compiled")
    for mode in Mode:
        app.stages(mode)
        for stage in ("logical", "physical", "topology", "code"):
            assert app.explain(stage, mode) == app.explain(stage, mode)


@settings(max_examples=EXAMPLES * 3)
@given(st.text(max_size=80))
@example("")
@example(";;")
@example("'")
@example("SELECT /* ")
@example("SELECT " + "(" * 2_000)
@example("SELECT " + "NOT " * 5_000 + "b FROM events")
@example("SELECT " + "-" * 5_001 + "1 FROM events")
@example("\0")
@example("SELECT 'a\0b' FROM events")
def test_any_text_is_read_or_refused(text: str) -> None:
    assert_read_or_refused(text)


@settings(max_examples=EXAMPLES * 5)
@given(st.lists(_TOKENS, max_size=25))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    assert_read_or_refused(SOURCE + " ".join(words))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Statements that are right, with a few words exchanged, dropped, doubled or put in."""
    words = (" ".join(draw(st.lists(st.sampled_from(CORPUS), min_size=1, max_size=3)))).split(" ")
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(words) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                words[place] = draw(_TOKENS)
            case 1:
                words.insert(place, draw(_TOKENS))
            case 2:
                words.insert(place, draw(st.sampled_from(words)))
            case 3 if len(words) > 1:
                del words[place]
            case _:
                cut = draw(st.integers(0, len(words[place])))
                words[place] = words[place][:cut] + draw(_TOKENS) + words[place][cut:]
    return SOURCE + " ".join(words)


@settings(max_examples=EXAMPLES * 8)
@given(mutated())
def test_changed_statements_are_read_or_refused(text: str) -> None:
    assert_read_or_refused(text)


@settings(max_examples=EXAMPLES * 4)
@given(changed_texts())
def test_changed_texts_of_users_are_read_or_refused_in_time(text: str) -> None:
    begun = time.process_time()
    assert_read_or_refused(text)
    assert time.process_time() - begun < MOST_SECONDS, "it took too long"


def test_the_statements_that_are_changed_are_right() -> None:
    for statement in CORPUS:
        target = "CREATE STREAM s AS SELECT k, n, x, at FROM events;" if statement.startswith("INSERT") else ""
        app = App(SOURCE + target + statement)
        for mode in Mode:
            app.stages(mode)

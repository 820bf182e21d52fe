"""What Headrace's SQL does not have, each with a text that uses it: the docs show what it is told."""

from __future__ import annotations

from headrace import App, SqlError

SOURCE = """CREATE STREAM s (k VARCHAR, n BIGINT, b BOOLEAN, t TIMESTAMP,
  WATERMARK FOR t AS t - INTERVAL '5' SECOND) WITH (topic = 's');
"""
REFUSED = (
    ("joins", "SELECT a.k FROM s a JOIN s b ON a.k = b.k"),
    ("subqueries in expressions", "SELECT k FROM s WHERE k IN (SELECT k FROM s)"),
    ("EXISTS", "SELECT k FROM s WHERE EXISTS (SELECT k FROM s)"),
    ("EXCEPT and INTERSECT", "SELECT k FROM s EXCEPT SELECT k FROM s"),
    (
        "UNION with an updating table",
        "CREATE TABLE c AS SELECT k, COUNT(*) AS c FROM s GROUP BY k; SELECT k, c FROM c UNION ALL SELECT k, n FROM s",
    ),
    ("DISTINCT ON", "SELECT DISTINCT ON (k) k, n FROM s"),
    (
        "windows over the rows of DISTINCT",
        "SELECT k, COUNT(*) AS c FROM (SELECT DISTINCT k FROM s) GROUP BY k WINDOW TUMBLING (1m)",
    ),
    ("ORDER BY", "SELECT k FROM s ORDER BY k"),
    ("LIMIT", "SELECT k FROM s LIMIT 3"),
    ("OFFSET", "SELECT k FROM s OFFSET 3"),
    ("OVER in another order than that of event time", "SELECT SUM(n) OVER (ORDER BY n) AS total FROM s"),
    ("frames that look forward", "SELECT SUM(n) OVER (ORDER BY t ROWS 3 FOLLOWING) AS total FROM s"),
    (
        "OVER of an updating table",
        "CREATE TABLE c AS SELECT k, MAX(t) AS t FROM s GROUP BY k; SELECT COUNT(*) OVER (ORDER BY t) FROM c",
    ),
    ("IGNORE NULLS", "SELECT LAG(n) IGNORE NULLS OVER (ORDER BY t) AS before FROM s"),
    ("RANK in Top-N", "SELECT k FROM (SELECT k, RANK() OVER (ORDER BY n) AS r FROM s) WHERE r <= 3"),
    ("ROW_NUMBER by any order, without a limit", "SELECT ROW_NUMBER() OVER (ORDER BY n) AS number FROM s"),
    ("PARTITION BY of a table", "SELECT k, COUNT(*) AS c FROM s GROUP BY k PARTITION BY c"),
    (
        "ksqlDB's window retention",
        "SELECT k, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 1 MINUTE, RETENTION 1 DAY) GROUP BY k",
    ),
    (
        "a window on another column than the event time",
        "SELECT k, COUNT(*) AS c FROM s GROUP BY k WINDOW TUMBLING (n, 1m)",
    ),
    ("DISTINCT in statistics", "SELECT STDDEV(DISTINCT n) AS deviation FROM s"),
    ("ORDER BY in most aggregates", "SELECT LAST_VALUE(n ORDER BY t) AS newest FROM s"),
    ("NTILE, PERCENT_RANK, CUME_DIST", "SELECT NTILE(4) OVER (ORDER BY t) AS quarter FROM s"),
    ("ROLLUP, CUBE", "SELECT k, COUNT(*) AS c FROM s GROUP BY ROLLUP (k)"),
    (
        "GROUP BY of an updating table",
        "CREATE TABLE c AS SELECT k, COUNT(*) AS c FROM s GROUP BY k; SELECT c, COUNT(*) AS n FROM c GROUP BY c",
    ),
    ("reading a table with a primary key", "CREATE TABLE u (id INT PRIMARY KEY, name VARCHAR); SELECT name FROM u"),
    (
        "a second writer of a table",
        (
            "CREATE TABLE c AS SELECT k, COUNT(*) AS c FROM s GROUP BY k; "
            "INSERT INTO c SELECT k, COUNT(*) AS c FROM s GROUP BY k"
        ),
    ),
    ("the watermark in an expression", "SELECT CURRENT_WATERMARK(t) AS w FROM s"),
    ("pseudo-columns of a query", "SELECT _timestamp FROM (SELECT * FROM s)"),
    ("all headers at once", "SELECT _headers FROM s"),
    ("functions written in SQL", "CREATE FUNCTION f AS 'module.f'"),
    ("windows and delays of months", "SELECT COUNT(*) AS c FROM s GROUP BY TUMBLE(t, INTERVAL '1' MONTH)"),
    ("months and days in one interval", "SELECT t + INTERVAL '1 month 2 days' AS later FROM s"),
    ("offsets as time zones", "SELECT t AT TIME ZONE '+02:00' AS there FROM s"),
    ("bit operators", "SELECT n & 1 AS odd FROM s"),
    ("SMALLINT, TINYINT", "CREATE STREAM z (a SMALLINT)"),
    ("a length of VARCHAR", "CREATE STREAM z (a VARCHAR(20))"),
    ("columns found by looking at the data", "CREATE STREAM z WITH (topic = 'z')"),
    ("Avro, Protobuf and JSON with schemas in a registry", "CREATE STREAM z (a INT) WITH (format = 'avro')"),
    ("an INTERVAL of months as a column", "SELECT INTERVAL '1' MONTH AS month FROM s"),
    ("deleting topics", "DROP STREAM s DELETE TOPIC"),
)


def refusal(sql: str) -> str:
    """The message with which a text is refused."""
    try:
        App(SOURCE + sql)
    except SqlError as error:
        return error.problems[0].message.replace("`", "'")
    raise AssertionError(f"is not refused any more: {sql}")

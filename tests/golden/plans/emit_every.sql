-- Rows that are held back, at most one a minute for each group.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, quantity BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE TABLE counts AS SELECT symbol, COUNT(*) AS trades FROM trades GROUP BY symbol EMIT EVERY INTERVAL '1' MINUTE;
CREATE TABLE counts_by_hour AS
SELECT symbol, COUNT(*) AS trades FROM trades WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY symbol EMIT EVERY 1 MINUTE;
CREATE TABLE visits AS
SELECT symbol, COUNT(*) AS trades FROM trades WINDOW SESSION (5 MINUTES) GROUP BY symbol EMIT EVERY 1 MINUTE;

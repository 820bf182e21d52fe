-- Sessions of a group: parts of them are sent on and united; a table takes the row of a shorter session back.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, quantity BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE TABLE visits AS
SELECT symbol, window_start, window_end, COUNT(*) AS trades, SUM(quantity) AS quantity FROM trades
GROUP BY symbol WINDOW SESSION (30 SECONDS, GRACE PERIOD 10 SECONDS) EMIT FINAL;
CREATE TABLE visits_so_far WITH (changes = 'latest') AS
SELECT symbol, window_start, window_end, COUNT(*) AS trades FROM trades
GROUP BY symbol WINDOW SESSION (30 SECONDS) HAVING COUNT(*) > 1 EMIT CHANGES;

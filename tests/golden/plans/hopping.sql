-- Windows that overlap: a row is added to each, a partial aggregate says from which window to which it is meant.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, quantity BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE TABLE hopping AS
SELECT symbol, window_start, COUNT(*) AS trades, MAX(price) AS high FROM trades WHERE price > 0
GROUP BY symbol, HOP(ts, INTERVAL '10' SECOND, INTERVAL '1' MINUTE);

-- A tumbling window, one row when it closes; partial aggregates cross the repartition topic.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, trade_time TIMESTAMP,
  WATERMARK FOR trade_time AS trade_time - INTERVAL '5' SECOND) WITH (partitions = 2);
CREATE TABLE per_minute AS
SELECT symbol, window_start, window_end, MIN(price) AS low, MAX(price) AS high, COUNT(*) AS trades
FROM trades
WINDOW TUMBLING (SIZE 1 MINUTE, GRACE PERIOD 10 SECONDS)
GROUP BY symbol
EMIT FINAL;

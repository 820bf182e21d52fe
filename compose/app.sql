-- The demo of compose.yaml: prices of each minute, and the newest total of each symbol.
CREATE STREAM trades (
  symbol VARCHAR, price DOUBLE, quantity BIGINT, at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '1' SECOND
) WITH (topic = 'trades', partitions = 4);

CREATE TABLE per_minute WITH (topic = 'trades-per-minute') AS
SELECT symbol, window_start, COUNT(*) AS trades, MIN(price) AS low, MAX(price) AS high
FROM trades GROUP BY symbol WINDOW TUMBLING (at, INTERVAL '1' MINUTE) EMIT FINAL;

CREATE TABLE totals WITH (topic = 'trade-totals', changes = 'latest') AS
SELECT symbol, COUNT(*) AS trades, SUM(quantity) AS quantity FROM trades GROUP BY symbol EMIT CHANGES;

-- Top-N of each window: its rows come out once, when it has closed.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, quantity BIGINT NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE TABLE busiest AS SELECT * FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY trades DESC) AS number FROM (
    SELECT symbol, window_start, window_end, COUNT(*) AS trades FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
    GROUP BY symbol, window_start, window_end))
WHERE number <= 2;

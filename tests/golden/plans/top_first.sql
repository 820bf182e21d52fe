-- The first row of each key by event time: no Top-N, but OVER and a filter.
CREATE STREAM trades (symbol VARCHAR KEY, price DOUBLE, quantity BIGINT NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE STREAM openings AS SELECT symbol, price FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY ts) AS number FROM trades) WHERE number = 1;

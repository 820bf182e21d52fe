-- LEAD: a row waits for those that follow it; at the end of a run nothing follows.
CREATE STREAM trades (symbol VARCHAR KEY, price DOUBLE, quantity BIGINT NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE STREAM following AS
SELECT symbol, price, LEAD(price) OVER w AS next, LEAD(quantity, 2, -1) OVER w AS next_but_one, COUNT(*) OVER w AS c
FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY ts);

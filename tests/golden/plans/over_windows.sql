-- OVER over the rows of windows: the record key is the window's, as it is of a query that keeps rows.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, quantity BIGINT NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE STREAM growth AS
SELECT symbol, minute, trades - LAG(trades) OVER (PARTITION BY symbol ORDER BY minute) AS more,
       AVG(trades) OVER (ROWS WINDOW BUFFER 10 ROWS PARTITION BY symbol) AS smooth
FROM (SELECT symbol, window_end AS minute, COUNT(*) AS trades FROM trades GROUP BY symbol WINDOW TUMBLING (1m));

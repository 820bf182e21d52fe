-- OVER by another key than that of the source: rows cross a repartition topic, wait there, and meet the calls in order.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, quantity BIGINT NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE STREAM moves AS
SELECT symbol, price - LAG(price) OVER w AS move, ROW_NUMBER() OVER w AS number, RANK() OVER w AS place,
       LAG(UPPER(symbol), 2, 'none') OVER w AS before, SUM(quantity) OVER (w ROWS UNBOUNDED PRECEDING) AS total
FROM trades WHERE price > 0
WINDOW w AS (PARTITION BY symbol ORDER BY ts);

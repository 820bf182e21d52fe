-- OVER by the key of the source: nothing is re-keyed, records keep their keys and headers, also through two levels.
CREATE STREAM trades (symbol VARCHAR KEY, price DOUBLE, quantity BIGINT NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE STREAM risen AS
SELECT symbol, price, ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY ts) AS number
FROM (SELECT *, LAG(price) OVER (PARTITION BY symbol ORDER BY ts) AS before FROM trades) WHERE price > before;

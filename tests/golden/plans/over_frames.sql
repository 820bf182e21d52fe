-- Frames: what can be taken away again is kept up, the rest computed over the rows of the frame; RANGE has rows of one time.
CREATE STREAM trades (symbol VARCHAR KEY, price DOUBLE, quantity BIGINT NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE STREAM moving AS
SELECT symbol, SUM(quantity) OVER (w ROWS 2 PRECEDING) AS sum3, MAX(price) OVER (w ROWS 2 PRECEDING) AS high3,
       COUNT(*) OVER (w RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW) AS per_minute,
       AVG(price) OVER (w RANGE INTERVAL '1' MINUTE PRECEDING) AS mean, SUM(quantity) OVER w AS total,
       FIRST_VALUE(price) OVER w AS opening, LAST_VALUE(price) OVER w AS newest,
       NTH_VALUE(price, 2) OVER (w ROWS 2 PRECEDING) AS middle
FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY ts);

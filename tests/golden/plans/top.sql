-- Top-N in an order of its own: a table by partition and number. A filter behind it can take rows back.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, quantity BIGINT NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE TABLE highest AS SELECT symbol, price, quantity FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY price DESC NULLS LAST, quantity) AS number FROM trades)
WHERE number <= 3 AND quantity > 1;
CREATE TABLE newest WITH (changes = 'latest') AS SELECT symbol, price FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY ts DESC) AS number FROM trades) WHERE number = 1;

-- Filter and project, record by record: nothing is re-keyed, the key bytes stay.
CREATE STREAM trades (trade_id BIGINT KEY, symbol VARCHAR NOT NULL, price DOUBLE, quantity BIGINT, note VARCHAR)
  WITH (topic = 'trades', partitions = 2);
CREATE STREAM big_trades WITH (topic = 'big-trades') AS
SELECT trade_id, UPPER(symbol) AS symbol, price * quantity AS amount, COALESCE(note, 'none') AS note
FROM trades
WHERE quantity >= 1000 AND (note IS NULL OR note NOT LIKE 'test%');

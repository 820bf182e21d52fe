-- Every change of a group is wanted: rows cross the repartition topic, only the needed columns of them.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, quantity BIGINT, note VARCHAR) WITH (partitions = 2);
CREATE TABLE by_symbol AS
SELECT symbol, COUNT(*) AS trades, SUM(quantity) AS quantity, AVG(price) AS mean_price
FROM trades
WHERE price > 0
GROUP BY symbol
EMIT CHANGES;

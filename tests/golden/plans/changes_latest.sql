-- Only the newest change is wanted: partial aggregates cross the repartition topic at each commit.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, quantity BIGINT) WITH (partitions = 2);
CREATE TABLE by_symbol WITH (changes = 'latest') AS
SELECT symbol, COUNT(*) AS trades, SUM(quantity) AS quantity, AVG(price) AS mean_price
FROM trades
GROUP BY symbol;

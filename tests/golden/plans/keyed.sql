-- The source is keyed by the grouping key: no repartition, the aggregation stands in the source's stage.
CREATE STREAM trades (symbol VARCHAR KEY, venue VARCHAR, quantity BIGINT) WITH (partitions = 2);
CREATE TABLE by_symbol AS SELECT symbol, SUM(quantity) AS quantity FROM trades GROUP BY symbol;
CREATE TABLE by_symbol_and_venue AS
SELECT symbol, venue, SUM(quantity) AS quantity FROM trades GROUP BY symbol, venue;
CREATE TABLE by_venue AS SELECT venue, SUM(quantity) AS quantity FROM trades GROUP BY venue;

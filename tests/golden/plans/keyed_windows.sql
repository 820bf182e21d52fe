-- The state lies in the partitions of the source: what their readers know of event time is shared through a topic.
CREATE STREAM trades (symbol VARCHAR KEY, quantity BIGINT, at TIMESTAMP, WATERMARK FOR at) WITH (partitions = 2);
CREATE TABLE per_minute AS
SELECT symbol, SUM(quantity) AS quantity FROM trades GROUP BY symbol WINDOW TUMBLING (SIZE 1 MINUTE);

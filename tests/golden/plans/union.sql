-- UNION ALL: each branch runs where its rows are; what groups or orders the rows of all brings them together, in mode
-- single too. One branch has windows of its own.
CREATE STREAM shop (item VARCHAR, amount INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5' SECOND) WITH (partitions = 2);
CREATE STREAM web (sku VARCHAR, amount BIGINT, at TIMESTAMP, WATERMARK FOR at AS at) WITH (partitions = 3);
CREATE VIEW sales AS SELECT item, amount, at FROM shop UNION ALL SELECT sku, amount, at FROM web WHERE amount > 0;
CREATE STREAM large AS SELECT item, amount FROM sales WHERE amount > 100;
CREATE TABLE running AS SELECT item, SUM(amount) AS total, LAST_VALUE(amount) AS newest FROM sales GROUP BY item;
CREATE TABLE per_minute AS SELECT item, window_end AS minute, COUNT(*) AS sales FROM sales GROUP BY item WINDOW TUMBLING (1m);
CREATE STREAM numbered AS SELECT item, ROW_NUMBER() OVER (PARTITION BY item ORDER BY at) AS number FROM sales;
CREATE TABLE counts AS SELECT sales, COUNT(*) AS times FROM (
  SELECT sales FROM per_minute UNION ALL SELECT amount FROM web) GROUP BY sales WINDOW TUMBLING (1h);
CREATE STREAM items AS SELECT item FROM shop UNION SELECT sku FROM web;

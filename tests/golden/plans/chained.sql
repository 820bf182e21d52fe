-- A query that reads another reads its rows: the source is decoded once, the second window counts rows of the first.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, trade_time TIMESTAMP) WITH (timestamp = 'trade_time', partitions = 2);
CREATE STREAM priced AS SELECT symbol, price, trade_time FROM trades WHERE price IS NOT NULL;
CREATE TABLE per_second AS
SELECT symbol, window_end, MAX(price) AS high FROM priced GROUP BY symbol WINDOW TUMBLING (1s);
CREATE TABLE per_minute AS
SELECT symbol, COUNT(*) AS seconds, MAX(high) AS high FROM per_second GROUP BY symbol, TUMBLE(INTERVAL '1' MINUTE);
CREATE TABLE highs AS SELECT high, COUNT(*) AS times FROM per_second GROUP BY high, TUMBLE(INTERVAL '1' MINUTE);

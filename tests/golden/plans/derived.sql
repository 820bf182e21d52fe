-- Queries inside of queries: in FROM, in WITH and as a view; each is planned as a query of its own, without a sink.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE VIEW priced (name, price, ts) AS (SELECT symbol, price, ts FROM trades WHERE price > 0);
CREATE TABLE levels AS
WITH per_minute AS (SELECT name, window_end AS minute, MAX(price) AS high FROM priced GROUP BY name WINDOW TUMBLING (1m)),
     high AS (SELECT * FROM per_minute WHERE high > 10)
SELECT level, COUNT(*) AS minutes FROM (SELECT name, CAST(high AS INT) AS level FROM high) AS l GROUP BY l.level;
CREATE TABLE highest AS SELECT name, high * 2 AS twice FROM (SELECT name, MAX(price) FROM priced GROUP BY name) AS m (name, high)
WHERE m.high > 5;

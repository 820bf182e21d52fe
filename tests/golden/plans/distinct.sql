-- SELECT DISTINCT: each row once, when it comes first; with a window when that closes.
CREATE STREAM visits (page VARCHAR, visitor BIGINT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5' SECOND);
CREATE STREAM pages AS SELECT DISTINCT page, visitor % 2 = 0 AS even FROM visits WHERE page <> '';
CREATE TABLE recent WITH (ttl = '1h') AS SELECT DISTINCT page FROM visits;
CREATE TABLE counted AS SELECT COUNT(*) AS different FROM (SELECT DISTINCT visitor FROM visits);
CREATE STREAM per_minute AS
SELECT DISTINCT page, window_start, window_end FROM TABLE(TUMBLE(TABLE visits, DESCRIPTOR(at), INTERVAL '1' MINUTE));

-- One source, several queries: decoded once, only the columns that some query needs; each query rejects for itself.
CREATE STREAM events (id INT, kind VARCHAR, size BIGINT, unused VARCHAR) WITH (partitions = 2);
CREATE STREAM ratios WITH (on_error = 'skip') AS SELECT id, 1000 / size AS ratio FROM events;
CREATE STREAM clicks AS SELECT * FROM events WHERE kind IN ('click', 'tap');
EXPLAIN SELECT kind, COUNT(*) FROM events GROUP BY kind;

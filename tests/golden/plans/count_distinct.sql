-- COUNT(DISTINCT): partial aggregates are sets. A global aggregate is one group with an empty key.
CREATE STREAM visits (page VARCHAR, visitor BIGINT) WITH (partitions = 2);
CREATE TABLE visitors WITH (changes = 'latest') AS
SELECT page, COUNT(DISTINCT visitor) AS visitors, COUNT(visitor) AS visits FROM visits GROUP BY page;
CREATE TABLE everywhere AS SELECT COUNT(DISTINCT visitor) AS visitors, COUNT(*) AS visits FROM visits;

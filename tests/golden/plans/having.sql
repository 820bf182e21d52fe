-- HAVING on changes: a group that no longer passes is deleted from the table by a tombstone.
CREATE STREAM accounts (account BIGINT, amount INT) WITH (partitions = 2);
CREATE TABLE in_debt AS
SELECT account, SUM(amount) AS balance FROM accounts GROUP BY account HAVING SUM(amount) < 0;

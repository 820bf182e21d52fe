-- DECIMAL is exact: sums, means and products at the scales of their types.
CREATE STREAM payments (account VARCHAR, amount DECIMAL(12, 2) NOT NULL, rate DECIMAL(6, 4)) WITH (partitions = 2);
CREATE STREAM converted AS SELECT account, amount * rate AS converted, amount / 3 AS third FROM payments;
CREATE TABLE totals WITH (changes = 'latest') AS
SELECT account, SUM(amount) AS total, AVG(amount) AS mean, MAX(rate) AS rate FROM payments GROUP BY account;

-- PARTITION BY: the same rows under another record key; what reads them and needs them together brings them together.
CREATE STREAM ratings (old INT, id INT, rating DOUBLE);
CREATE STREAM by_id WITH (key_in_value = 'false') AS SELECT * FROM ratings PARTITION BY id;
CREATE STREAM by_two AS SELECT id AS movie, rating, UPPER('r') AS kind FROM ratings WHERE rating > 0 PARTITION BY kind, id;
CREATE TABLE means AS SELECT id, AVG(rating) AS mean FROM by_id GROUP BY id;

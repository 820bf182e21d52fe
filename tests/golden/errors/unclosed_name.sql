CREATE STREAM t (x INT);
CREATE STREAM r AS SELECT 'it''s' AS a, "x FROM t; -- and "" is none

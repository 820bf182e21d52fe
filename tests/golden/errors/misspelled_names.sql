-- Names that are nearly right, and carets behind tabs, wide and combining characters.
CREATE STREAM t (a INT, s VARCHAR);
SELECT UPER(s) FROM t;
	SELECT	a,	nosuch FROM t;
SELECT '日本語' AS x, nosuch FROM t;
SELECT '😀 é 👩‍👧' AS x, nosuch FROM t;
SELECT "日本" FROM t;
SELECT '[31m' AS x, nosuch FROM t;
SELECT a + 1 AS nosuch, nosuch FROM t;
SELECT a FROM tt;
SELECT u.a FROM t AS uu;
SELECT ROWNUMBER() OVER (ORDER BY a) FROM t;
SELECT DATE_TRUNC('hour', s) FROM t;

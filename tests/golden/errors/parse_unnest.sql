-- Joins that are none of elements, or not of this form.
SELECT x FROM t JOIN u ON t.a = u.a;
SELECT x FROM t RIGHT JOIN UNNEST(a) AS u (x) ON TRUE;
SELECT x FROM t LEFT JOIN UNNEST(a) AS u (x) ON t.b = u.x;
SELECT x FROM t, LATERAL TABLE(UNNEST(a)) AS u (x);
SELECT x FROM t, u;

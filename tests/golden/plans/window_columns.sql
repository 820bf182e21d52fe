-- A window among the columns, as Arroyo writes it, and the rows of it read again.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, ts TIMESTAMP, WATERMARK FOR ts);
CREATE TABLE hourly AS SELECT symbol, TUMBLE(INTERVAL '1' HOUR) AS w, MAX(price) AS high FROM trades GROUP BY symbol, w;
CREATE STREAM starts AS SELECT symbol, w.start AS began, high FROM hourly;

-- Windows that begin together, windows of the clocks of a city, windows with an offset.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE, quantity BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND);
CREATE TABLE so_far AS
SELECT symbol, window_start, window_end, COUNT(*) AS trades
FROM TABLE(CUMULATE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' DAY)) GROUP BY symbol, window_start, window_end;
CREATE TABLE daily AS
SELECT symbol, COUNT(*) AS trades FROM trades GROUP BY symbol, TUMBLE(ts, INTERVAL '1' DAY, TIMEZONE 'Europe/Paris');
CREATE TABLE shifted AS
SELECT symbol, COUNT(*) AS trades FROM trades WINDOW TUMBLING (SIZE 1 HOUR, OFFSET 15 MINUTES) GROUP BY symbol;

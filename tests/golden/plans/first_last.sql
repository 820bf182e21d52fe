-- FIRST and LAST: the order of rows (event time, source partition, offset) crosses the repartition topic with them.
CREATE STREAM readings (sensor INT, reading DOUBLE, taken TIMESTAMP) WITH (timestamp = 'taken', partitions = 2);
CREATE TABLE newest AS
SELECT sensor, FIRST(reading) AS first_reading, LATEST_BY_OFFSET(reading) AS last_reading
FROM readings GROUP BY sensor;
CREATE TABLE hourly AS
SELECT sensor, LAST_VALUE(reading) AS reading FROM readings WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY sensor;

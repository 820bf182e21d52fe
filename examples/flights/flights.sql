-- Every flight that left New York in January 2013, in the order in which they left.
-- A flight may leave up to 19 hours after its scheduled departure: the watermark waits a day.
CREATE STREAM flights (
  departure TIMESTAMP, carrier VARCHAR, tailnum VARCHAR, origin VARCHAR, dest VARCHAR,
  flight INT, dep_delay INT, arr_delay INT, air_time INT, distance INT,
  WATERMARK FOR departure AS departure - INTERVAL '1' DAY
) WITH (topic = 'flights', format = 'json', partitions = 4);

-- Delays per carrier, corrected with every flight. A cancelled flight has no delay: AVG and MAX leave it out.
CREATE TABLE delays_by_carrier WITH (topic = 'delays-by-carrier', partitions = 4) AS
SELECT carrier, COUNT(*) AS flights, COUNT(dep_delay) AS departed, AVG(dep_delay) AS avg_delay, MAX(dep_delay) AS max_delay
FROM flights
GROUP BY carrier
EMIT CHANGES;

-- Flights per route and day (UTC), written once, when the day is over.
CREATE TABLE busiest_routes WITH (topic = 'busiest-routes', partitions = 4) AS
SELECT origin, dest, COUNT(*) AS flights, COUNT(DISTINCT carrier) AS carriers, SUM(distance) AS miles
FROM flights
GROUP BY origin, dest WINDOW TUMBLING (departure, INTERVAL '1' DAY)
EMIT FINAL;

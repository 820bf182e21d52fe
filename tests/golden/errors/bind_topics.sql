-- Sinks whose topic another thing of the app writes.
CREATE STREAM trades (symbol VARCHAR, price DOUBLE);
CREATE STREAM letters (symbol VARCHAR, price DOUBLE) WITH (topic = 'app-dead-letter');
CREATE STREAM copied WITH (topic = 'app-dead-letter') AS SELECT * FROM trades;
INSERT INTO letters SELECT * FROM trades;
CREATE STREAM Result AS SELECT * FROM trades;
SELECT symbol FROM trades;

-- Two queries write one declared stream: by position, converted to its types, what is left out is NULL.
CREATE STREAM rock (artist VARCHAR, plays INT) WITH (partitions = 2);
CREATE STREAM classical (composer VARCHAR, plays BIGINT) WITH (partitions = 3);
CREATE STREAM songs (artist VARCHAR, genre VARCHAR, plays BIGINT, rating DOUBLE) WITH (partitions = 4);
INSERT INTO songs (artist, genre, plays) SELECT artist, 'rock', plays FROM rock;
INSERT INTO songs SELECT composer, 'classical', plays, plays / 2 FROM classical;

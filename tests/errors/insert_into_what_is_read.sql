CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
CREATE STREAM carriers WITH (connector = 'file', path = 'carriers.csv') AS SELECT carrier FROM flights;
INSERT INTO flights SELECT * FROM flights;

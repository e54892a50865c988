CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
CREATE STREAM late WITH (connector = 'file', path = 'flights.csv') AS
SELECT carrier FROM flights WHERE dep_delay > 10;

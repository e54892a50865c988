CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
CREATE STREAM late (carrier VARCHAR, delay DOUBLE) WITH (connector = 'file', path = 'late.csv');
INSERT INTO late (carrier) SELECT carrier FROM flights;

CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
CREATE STREAM late (ts TIMESTAMP, carrier VARCHAR, WATERMARK FOR ts AS ts);
INSERT INTO late SELECT ts, carrier FROM flights;
SELECT carrier FROM late;

CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
CREATE STREAM out WITH (connector = 'kafka', topic = 'o', format = 'json', key.columns = 'carier') AS
SELECT carrier, distance FROM flights;

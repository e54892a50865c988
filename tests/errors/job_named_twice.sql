CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
CREATE STREAM a WITH (connector = 'file', path = 'a.csv', job.name = 'one') AS SELECT carrier FROM flights;
CREATE STREAM b WITH (connector = 'file', path = 'b.csv', job.name = 'two') AS SELECT carrier FROM flights;

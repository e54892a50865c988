CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
CREATE STREAM late AS SELECT ts, carrier FROM flights;
SELECT COUNT(*) AS n FROM late WINDOW TUMBLING (ts, INTERVAL '1' HOUR);

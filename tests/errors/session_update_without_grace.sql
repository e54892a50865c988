CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
SET 'late' = 'update';
SELECT COUNT(*) AS n FROM flights WINDOW SESSION (GAP 5 MINUTES);

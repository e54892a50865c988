CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
SELECT carrier, COUNT(*) AS n FROM flights GROUP BY carrier WINDOW TUMBLING (SIZE 1 HOUR)
EMIT FINAL AND CHANGES EVERY 10 ROWS;

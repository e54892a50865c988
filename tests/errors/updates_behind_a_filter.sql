CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
CREATE STREAM counts AS
SELECT carrier, COUNT(*) AS n FROM flights GROUP BY carrier WINDOW TUMBLING (SIZE 1 HOUR) EMIT CHANGES;
CREATE STREAM many AS SELECT carrier, n FROM counts WHERE n > 5;
SELECT carrier, MAX(n) AS n FROM many GROUP BY carrier;

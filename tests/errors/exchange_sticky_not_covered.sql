CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, origin VARCHAR, distance BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'kafka', topic = 'flights', format = 'json', key.columns = 'carrier, origin');
CREATE STREAM by_carrier WITH (connector = 'file', path = 'out.json', exchange = 'sticky') AS
SELECT carrier, COUNT(*) AS n FROM flights GROUP BY carrier WINDOW TUMBLING (SIZE 1 HOUR);

SET exchange = 'sticky';
CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'kafka', topic = 'flights', format = 'json', key.columns = 'carrier');
SELECT COUNT(*) AS n FROM flights;

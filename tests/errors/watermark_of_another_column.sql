CREATE STREAM s (
  ts TIMESTAMP, other TIMESTAMP,
  WATERMARK FOR ts AS other - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 's.csv');

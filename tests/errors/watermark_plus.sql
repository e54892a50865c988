CREATE STREAM s (
  ts TIMESTAMP,
  WATERMARK FOR ts AS ts + INTERVAL '5' SECOND
) WITH (connector = 'file', path = 's.csv');

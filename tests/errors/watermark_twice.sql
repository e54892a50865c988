CREATE STREAM s (
  ts TIMESTAMP,
  WATERMARK FOR ts AS ts,
  WATERMARK FOR ts AS ts
) WITH (connector = 'file', path = 's.csv');

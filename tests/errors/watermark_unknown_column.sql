CREATE STREAM s (
  ts TIMESTAMP,
  WATERMARK FOR tz AS tz
) WITH (connector = 'file', path = 's.csv');

CREATE STREAM s (
  k VARCHAR, n BIGINT,
  WATERMARK FOR n AS n - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 's.csv');

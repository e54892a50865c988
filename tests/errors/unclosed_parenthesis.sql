CREATE STREAM s (k VARCHAR, n BIGINT
WITH (connector = 'file', path = 's.csv');

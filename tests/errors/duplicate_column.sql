CREATE STREAM s (k VARCHAR, n BIGINT, K BIGINT) WITH (connector = 'file', path = 's.csv');

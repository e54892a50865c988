CREATE STREAM s (k VARCHAR, n NUMBER) WITH (connector = 'file', path = 's.csv');

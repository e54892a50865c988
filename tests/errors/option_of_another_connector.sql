CREATE STREAM s (k VARCHAR)
WITH (connector = 'file', path = 's.csv', topic = 'x');

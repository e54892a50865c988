CREATE STREAM s (a VARCHAR) WITH (connector = 'file', path = 'in.csv');
SELECT a, _key FROM s;

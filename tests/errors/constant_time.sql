CREATE STREAM s (n BIGINT) WITH (connector = 'file', path = 's.csv');
SELECT n, CAST(86400000000 AS TIME) AS x FROM s;

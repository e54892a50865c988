CREATE STREAM s (n BIGINT) WITH (connector = 'file', path = 's.csv');
SELECT n, n::DECIMAL(10, -2) AS x FROM s;

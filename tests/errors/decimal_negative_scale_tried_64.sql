CREATE STREAM s (n BIGINT) WITH (connector = 'file', path = 's.csv');
SELECT n, arrow_try_cast(n, 'Decimal64(5, -2)') AS x FROM s;

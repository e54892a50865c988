CREATE STREAM s (n BIGINT) WITH (connector = 'file', path = 's.csv');
SELECT n, arrow_try_cast(n, 'Decimal32(5, -2)') AS x FROM s;

CREATE STREAM s (n BIGINT) WITH (connector = 'file', path = 's.csv');
SELECT n, arrow_cast(n, 'Decimal128(10, -2)') AS x FROM s;

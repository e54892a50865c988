CREATE STREAM s (k BIGINT) WITH (connector = 'file', path = 'in.csv', on_error = 'dead_letter');
SELECT k FROM s;

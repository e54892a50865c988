CREATE STREAM s (k BIGINT) WITH (connector = 'file', path = 'in.csv', on_error = 'dead_letter', dead_letter = 'file:in.csv');
SELECT k FROM s;

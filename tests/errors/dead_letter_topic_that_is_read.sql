CREATE STREAM s (k BIGINT) WITH (connector = 'kafka', topic = 'in', end = 'latest', on_error = 'dead_letter', dead_letter = 'kafka:in');
SELECT k FROM s;

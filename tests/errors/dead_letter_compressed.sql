CREATE STREAM s (k BIGINT) WITH (connector = 'file', path = 'in.csv', on_error = 'dead_letter', dead_letter = 'file:d.jsonl.gz');
SELECT k FROM s;

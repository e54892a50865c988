CREATE STREAM s (k BIGINT) WITH (connector = 'file', path = 'in.csv', on_error = 'dead_letter', dead_letter = 'd.jsonl');
SELECT k FROM s;

CREATE STREAM s (k BIGINT) WITH (connector = 'file', path = 'in.csv', dead_letter = 'file:d.jsonl');
SELECT k FROM s;

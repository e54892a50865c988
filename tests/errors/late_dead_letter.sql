SET 'late' = 'dead_letter';
CREATE STREAM s (ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH (connector = 'file', path = 'in.csv', on_error = 'skip');
SELECT window_start, COUNT(*) AS n FROM s WINDOW TUMBLING (SIZE 1 MINUTE);

CREATE STREAM s (ts TIMESTAMP, k VARCHAR) WITH (connector = 'file', path = 's.csv');
SELECT k, COUNT(*) AS n FROM s GROUP BY k
WINDOW TUMBLING (SIZE 1 HOUR);

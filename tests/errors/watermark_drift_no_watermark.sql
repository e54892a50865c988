CREATE STREAM s (ts TIMESTAMP) WITH (connector = 'file', path = 'in.csv', watermark.max_drift = '1 m');
SELECT COUNT(*) AS n FROM s WINDOW TUMBLING (SIZE 1 MINUTE);

CREATE STREAM s (ts TIMESTAMP) WITH (connector = 'file', path = 'in.csv', watermark.emit = 'record');
SELECT COUNT(*) AS n FROM s WINDOW TUMBLING (SIZE 1 MINUTE);

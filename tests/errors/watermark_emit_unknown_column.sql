CREATE STREAM s (ts TIMESTAMP, n BIGINT, m BOOLEAN, WATERMARK FOR ts AS ts)
WITH (connector = 'file', path = 'in.csv', watermark.emit = 'hybrid:n > 1 AND missing, 200ms');
SELECT COUNT(*) AS n FROM s WINDOW TUMBLING (SIZE 1 MINUTE);

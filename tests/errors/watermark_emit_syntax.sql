CREATE STREAM s (ts TIMESTAMP, n BIGINT, m BOOLEAN, WATERMARK FOR ts AS ts)
WITH (connector = 'file', path = 'in.csv', watermark.emit = 'punctuated:n > > 1');
SELECT COUNT(*) AS n FROM s WINDOW TUMBLING (SIZE 1 MINUTE);

SET 'job.name' = 'j';
CREATE STREAM s (ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (connector = 'kafka', topic = 't', start = 'committed', watermark.emit = 'punctuated:extract(second FROM ts) = 0');
CREATE STREAM o WITH (connector = 'kafka', topic = 'o') AS
SELECT COUNT(*) AS n FROM s WINDOW TUMBLING (SIZE 1 MINUTE);

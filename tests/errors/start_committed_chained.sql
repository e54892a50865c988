CREATE STREAM trades (symbol VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (connector = 'kafka', topic = 'trades', start = 'committed');
CREATE STREAM minutes AS SELECT symbol, COUNT(*) AS n FROM trades GROUP BY symbol WINDOW TUMBLING (SIZE 1 MINUTE);
CREATE STREAM hours WITH (connector = 'kafka', topic = 'hours') AS
SELECT symbol, SUM(n) AS n FROM minutes GROUP BY symbol WINDOW TUMBLING (SIZE 1 HOUR);

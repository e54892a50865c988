CREATE STREAM trades (symbol VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (connector = 'kafka', topic = 'trades', start = 'committed');
CREATE STREAM visits WITH (connector = 'kafka', topic = 'visits') AS
SELECT symbol, COUNT(*) AS n FROM trades GROUP BY symbol WINDOW SESSION (GAP 5 MINUTES);

CREATE STREAM trades (symbol VARCHAR) WITH (connector = 'kafka', topic = 'trades');
SELECT symbol, COUNT(*) AS n FROM trades GROUP BY symbol EMIT FINAL AND CHANGES EVERY 1 SECOND;

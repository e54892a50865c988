CREATE STREAM trades (symbol VARCHAR)
WITH (connector = 'kafka', topic = 'trades', start = 'committed');
SELECT symbol FROM trades;

CREATE STREAM trades (symbol VARCHAR)
WITH (connector = 'kafka', topic = 'trades', start = 'committed');
CREATE STREAM totals WITH (connector = 'kafka', topic = 'totals') AS
SELECT symbol, COUNT(*) AS n FROM trades GROUP BY symbol;

CREATE STREAM trades (symbol VARCHAR, price DOUBLE)
WITH (connector = 'kafka', topic = 'trades', format = 'json');
SELECT symbol, COUNT(*) AS n FROM trades GROUP BY symbol
EMIT FINAL;

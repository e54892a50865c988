CREATE STREAM trades (symbol VARCHAR) WITH (connector = 'kafka', kafka.sasl.password = 'hunter2', tpoic = 'trades');
SELECT symbol FROM trades;

CREATE STREAM trades (symbol VARCHAR)
WITH (connector = 'kafka', topic = 'trades', kafka.client.id = '${');

CREATE STREAM trades (symbol VARCHAR)
WITH (connector = 'kafka', topic = 'trades', on_error = 'dead_letter', dead_letter = 'file:bad.json');

CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
CREATE STREAM trades (symbol VARCHAR, price DOUBLE)
WITH (connector = 'kafka', topic = 'trades', format = 'json');
SELECT carrier, price FROM flights, trades;

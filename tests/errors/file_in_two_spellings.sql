CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
CREATE STREAM late WITH (connector = 'file', path = './old/../flights.csv') AS
SELECT carrier FROM flights WHERE dep_delay > 10;
CREATE STREAM far WITH (connector = 'file', path = 'far.csv') AS
SELECT carrier FROM flights WHERE distance > 1000;
CREATE STREAM near WITH (connector = 'file', path = './/far.csv') AS
SELECT carrier FROM flights WHERE distance < 1000;

CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, distance BIGINT, dep_delay DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'flights.csv');
CREATE STREAM broken (k VARCHR) WITH (connector = 'file', path = 'k.csv');
SELECT k FROM broken;
CREATE STREAM a WITH (connector = 'file', path = 'a.csv', compresion = 'zst') AS SELECT carrier FROM flights;
CREATE STREAM b WITH (connector = 'file', path = 'b.csv') AS SELECT carier FROM flights;
SELECT carrier FROM flihgts;

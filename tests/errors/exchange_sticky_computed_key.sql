SET exchange = 'sticky';
CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (connector = 'kafka', topic = 'flights', format = 'json', key.columns = 'carrier');
SELECT upper(carrier) AS carrier, COUNT(*) AS n FROM flights GROUP BY upper(carrier) WINDOW TUMBLING (SIZE 1 HOUR);

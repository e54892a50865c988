CREATE STREAM s (ts TIMESTAMP, customer VARCHAR, item VARCHAR, qty BIGINT, price DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
WITH (connector = 'file', path = 'orders.csv');
SELECT HOP_END(ts, INTERVAL '1' MINUTE, INTERVAL '2' MINUTE) AS ended, COUNT(*) AS n FROM s;

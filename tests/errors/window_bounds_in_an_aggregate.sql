CREATE STREAM s (ts TIMESTAMP, customer VARCHAR, item VARCHAR, qty BIGINT, price DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
WITH (connector = 'file', path = 'orders.csv');
SELECT window_start, MAX(window_start) AS n FROM s WINDOW TUMBLING (1m);

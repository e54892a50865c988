CREATE STREAM s (ts TIMESTAMP, customer VARCHAR, item VARCHAR, qty BIGINT, price DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
WITH (connector = 'file', path = 'orders.csv');
SELECT n FROM (SELECT COUNT(*) AS n FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end);

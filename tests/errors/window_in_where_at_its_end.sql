CREATE STREAM s (ts TIMESTAMP, customer VARCHAR, item VARCHAR, qty BIGINT, price DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
WITH (connector = 'file', path = 'orders.csv');
SELECT COUNT(*) n FROM s WHERE qty > 1 AND WINDOW TUMBLING (1m) GROUP BY customer;

CREATE STREAM s (ts TIMESTAMP, customer VARCHAR, item VARCHAR, qty BIGINT, price DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
WITH (connector = 'file', path = 'orders.csv');
CREATE STREAM minutes AS SELECT customer, window_start, COUNT(*) AS n FROM s GROUP BY customer WINDOW TUMBLING (1m);
SELECT window_start, SUM(n) AS n FROM minutes WINDOW TUMBLING (1h);

CREATE STREAM orders (k VARCHAR, n BIGINT) WITH (connector = 'datagen', rows = 10);
CREATE STREAM flights (carrier VARCHAR, distance BIGINT) WITH (connector = 'file', path = 'flights.csv');
INSERT INTO orders SELECT carrier, distance FROM flights;

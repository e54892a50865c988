CREATE STREAM flights (carrier VARCHAR, distance BIGINT)
WITH (connector = 'file', path = 'flights.csv', csv.delimiter = ';', csv.null = 'n;a');
SELECT carrier FROM flights;

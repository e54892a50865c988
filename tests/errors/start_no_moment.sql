CREATE STREAM s (a VARCHAR) WITH (connector = 'kafka', topic = 't', start = 'timestamp:yesterday');
SELECT a FROM s;

CREATE STREAM s (a VARCHAR) WITH (connector = 'kafka', topic = 't', idle_timeout = '0s');
SELECT a FROM s;

CREATE STREAM s (a VARCHAR) WITH (connector = 'kafka', topic = 't');
SELECT a, _headers FROM s;

CREATE STREAM s (a VARCHAR) WITH (connector = 'file', path = 'in.csv');
CREATE STREAM m AS SELECT a FROM s;
SELECT a, _offset FROM m;

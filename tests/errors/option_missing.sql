CREATE STREAM s (k VARCHAR) WITH (connector = 'kafka', format = 'json');

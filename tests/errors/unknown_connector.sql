CREATE STREAM s (k VARCHAR) WITH (connector = 'kafak', topic = 's');

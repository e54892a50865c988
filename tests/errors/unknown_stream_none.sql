SELECT carrier FROM flights;

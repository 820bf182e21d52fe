"""Users' own tests of their apps: test files read, run on local data, and reported."""

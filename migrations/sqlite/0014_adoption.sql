-- Nothing here: only Postgres tells its timeline, and has sources of another program.
SELECT 1;

-- Nothing here: only Postgres has sources of another program.
SELECT 1;

-- Nothing here: on Postgres, the epoch is told by another function.
SELECT 1;

-- Nothing here: on Postgres, the timeline is told by a function of its own.
SELECT 1;

-- Deletes runs that have ended and began before $1, except a job's latest tick: without its row,
-- that tick would run again.
DELETE FROM job_runs r
WHERE started_at < to_timestamp($1::bigint::float8 / 1000.0::float8) AND state IN ('done', 'failed')
  AND tick < (SELECT max(latest.tick) FROM job_runs latest WHERE latest.job = r.job)

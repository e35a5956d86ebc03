SELECT id, job, state, floor(extract(epoch FROM least(greatest(started_at, '4713-01-01 BC+00'), '294276-01-01+00')) * 1000.0)::bigint AS started_at_ms,
       CASE WHEN isfinite(finished_at) THEN floor(extract(epoch FROM finished_at) * 1000.0)::bigint END AS finished_at_ms, total, done, changed, drift, error,
       CASE WHEN isfinite(verified_through) THEN floor(extract(epoch FROM verified_through) * 1000.0)::bigint END AS verified_through_ms
FROM job_runs WHERE id = $1

SELECT id, job, state, floor(extract(epoch FROM started_at) * 1000)::bigint AS started_at_ms,
       floor(extract(epoch FROM finished_at) * 1000)::bigint AS finished_at_ms, total, done, changed, drift, error,
       floor(extract(epoch FROM verified_through) * 1000)::bigint AS verified_through_ms
FROM job_runs WHERE id = $1

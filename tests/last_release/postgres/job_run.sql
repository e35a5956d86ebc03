SELECT id, job, state, floor(extract(epoch FROM started_at) * 1000)::bigint AS started_at_ms,
       floor(extract(epoch FROM finished_at) * 1000)::bigint AS finished_at_ms, total, done, changed, drift, error
FROM job_runs WHERE id = $1

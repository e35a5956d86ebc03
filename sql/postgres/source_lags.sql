-- The subscriptions that fill the tables with these ids ($1), and for how many seconds nothing was heard of each publisher; null where none runs.
SELECT s.subname::text AS subscription, CASE WHEN max(worker.latest_end_time) IS NOT NULL THEN greatest(floor(extract(epoch FROM statement_timestamp() - max(worker.latest_end_time)))::bigint, 0::bigint) END AS seconds
FROM pg_subscription s
LEFT JOIN pg_stat_subscription worker ON worker.subid = s.oid AND worker.relid IS NULL AND worker.pid IS NOT NULL
WHERE EXISTS (SELECT 1 FROM pg_subscription_rel r WHERE r.srsubid = s.oid AND r.srrelid::bigint = ANY ($1::bigint[]))
GROUP BY s.oid, s.subname
ORDER BY s.subname

-- $1 now
SELECT EXISTS (SELECT 1 FROM dashboard_daily_summary WHERE next_expires_at <= $1 AND date(date) = date) AS expiry_due,
    (SELECT max(verified_through) FROM job_runs
        WHERE verified_through IS NOT NULL AND state = 'done' AND job IN ('rebuild', 'full_rebuild')) AS verified_through,
    ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0) AS rows_written,
    versions_from, generation, salt, triggers_seen, watermark_epoch, watermark_at, watermark_generation, watermark_number
FROM fleet

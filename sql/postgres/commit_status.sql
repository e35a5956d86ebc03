-- The outcome of transaction $1, and whether the number still is that transaction's. It is not
-- after a promotion: a standby that was promoted has left the timeline $3, and gives numbers that
-- never reached it to other transactions. Nor is it when the server has not run without a break
-- since $2 (milliseconds): a server that crashed does the same.
SELECT pg_xact_status($1::xid8),
       left(pg_walfile_name(pg_current_wal_lsn()), 8) = $3
       AND coalesce((SELECT min(backend_start) FROM pg_stat_activity WHERE backend_type = 'checkpointer') < to_timestamp($2::bigint::float8 / 1000.0::float8), false)

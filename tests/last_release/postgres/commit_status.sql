-- What became of transaction $1, and whether the server has run without a break since $2 (milliseconds).
SELECT pg_xact_status($1::xid8),
       coalesce((SELECT min(backend_start) FROM pg_stat_activity WHERE backend_type = 'checkpointer') < to_timestamp($2::bigint / 1000.0::float8), false)

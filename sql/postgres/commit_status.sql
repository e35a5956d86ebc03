-- The outcome of transaction $1, and whether this number still belongs to that transaction. Two
-- events can give the number to another transaction. A standby is promoted: then it has left the
-- timeline $3. Or the server crashes and starts again: then it has not run without a break since $2
-- (milliseconds).
SELECT pg_xact_status($1::xid8),
       server_timeline() = $3
       AND coalesce((SELECT min(backend_start) FROM pg_stat_activity WHERE backend_type = 'checkpointer') < to_timestamp($2::bigint::float8 / 1000.0::float8), false)

-- The marks of this drain snapshot that triggers on mapped tables left: which facilities they lead
-- to. $1 bounds the list. The mapping gives the branches: our own tables have none. A mark of
-- several days gives a row for each.
WITH facility_summary_mark AS MATERIALIZED (
    SELECT id, via, via_row FROM (SELECT * FROM summary_marks ORDER BY id LIMIT $1) AS mark WHERE via_row IS NOT NULL
)
SELECT id, facility_id, floor(extract(epoch FROM min(first_at)) * 1000.0)::bigint AS first_ms, ceil(extract(epoch FROM max(last_at)) * 1000.0)::bigint AS last_ms
FROM (
    -- own tables: branches
    SELECT id, NULL::uuid, NULL::timestamptz, NULL::timestamptz FROM facility_summary_mark
    -- end
) AS found (id, facility_id, first_at, last_at)
GROUP BY id, facility_id, pg_catalog.date_bin('1 day', first_at, 'epoch')

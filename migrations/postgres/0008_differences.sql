-- Events may add what they changed to a stored row, instead of deriving the day from its sources. Replicas of the release before go on working.

-- Equals as_of where the row was last written by adding a difference. A release that does not know it changes only as_of.
ALTER TABLE dashboard_daily_summary ADD COLUMN difference_as_of timestamptz;

-- One row. `stamp` is another after each change of a source table, of a trigger on one, or of the function of such a trigger; it may be another
-- for other reasons. `has_others`: something of another program changes what is written to these tables, or writes more.
CREATE VIEW source_stamp AS
SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, c.oid::text, c.xmin::text, (SELECT pg_catalog.string_agg(a.xmin::text, ' '::text ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0::smallint), t.stamp), ','::text ORDER BY c.oid) AS stamp,
       coalesce(bool_or(c.relhasrules OR t.has_others), true) AS has_others
FROM pg_class home
JOIN pg_class c ON c.relnamespace = home.relnamespace
    AND c.relname = ANY (ARRAY['facilities', 'blood_banks', 'blood_inventory', 'blood_distributions', 'blood_requests']::name[])
CROSS JOIN LATERAL (
    SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, t.oid::text, t.xmin::text, p.xmin::text), ' '::text ORDER BY t.oid) AS stamp,
           bool_or(t.tgname <> ALL (ARRAY['mark_insert', 'mark_update_new', 'mark_update_old', 'mark_delete', 'mark_truncate', 'mark_row']::name[])) AS has_others
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
) AS t
WHERE home.oid = 'summary_marks'::regclass::oid;

-- One statement, one snapshot: everything committed up to now() is visible. (Not
-- statement_timestamp(): the extended protocol takes it when execution begins, after the snapshot.
-- now() is the begin of this transaction, before the snapshot.) $1 bounds each list; $2 is the
-- class of the locks. These are counted after the snapshot was taken: a server that is not counted
-- has deleted nothing that the snapshot should show.
SELECT floor(extract(epoch FROM now()) * 1000.0)::bigint AS at_ms,
       EXISTS (SELECT 1 FROM dashboard_daily_summary AS s WHERE next_expires_at <= statement_timestamp() AND date BETWEEN '0001-01-01' AND '9999-12-31'
                 AND NOT EXISTS (SELECT 1 FROM failing_day AS failing WHERE failing.facility_id = s.facility_id AND failing.date = s.date)) AS expiry_due,
       (SELECT pg_catalog.jsonb_build_array(pg_catalog.count(*), pg_catalog.count(DISTINCT facility_id),
                   (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(facility_id, CASE WHEN isfinite(date) THEN date::text END, words)), '[]')
                      FROM (SELECT * FROM failing_day ORDER BY facility_id, date LIMIT 3) AS first))
          FROM failing_day)::text AS failing,
       (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(id, kind, facility_id, CASE WHEN isfinite(first_at) THEN floor(extract(epoch FROM least(greatest(first_at, '4713-01-01 BC+00'), '294276-01-01+00')) * 1000.0)::bigint END, CASE WHEN isfinite(last_at) THEN ceil(extract(epoch FROM least(greatest(last_at, '4713-01-01 BC+00'), '294276-01-01+00')) * 1000.0)::bigint END, blood_bank_id, via)), '[]')
          FROM (SELECT * FROM summary_marks ORDER BY id LIMIT $1) AS mark)::text AS marks,
       EXISTS (SELECT 1 FROM spare_marks) AS has_spare_marks, EXISTS (SELECT 1 FROM noticed_rows) AS has_noticed_rows,
       mapped.off::text AS mapped_off, mapped.fingerprint AS mapped_now, mapped_plan, mapped_seen, fleet.mapping AS mapping_noted,
       -- The labels of all enums, of which prepared statements on mapped tables keep the ids.
       CASE WHEN fleet.mapping IS NOT NULL THEN (SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(' '::text, e.oid::text, e.enumlabel::text), ','::text ORDER BY e.oid)) FROM pg_enum e) END AS labels_now,
       -- Marks of a bank that is in another facility in this snapshot than the mark names, and
       -- marks without a facility of a bank that does not exist. A bank that moves or is registered
       -- later leaves marks.
       (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(mark.id, bank.facility_id)), '[]')
          FROM (SELECT * FROM summary_marks ORDER BY id LIMIT $1) AS mark LEFT JOIN blood_banks bank ON bank.id = mark.blood_bank_id
         WHERE mark.blood_bank_id IS NOT NULL
           AND CASE WHEN bank.id IS NULL THEN mark.facility_id IS NULL ELSE bank.facility_id IS DISTINCT FROM mark.facility_id END)::text AS strays,
       (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(id, facility_id, date, version)), '[]')
          FROM (SELECT * FROM outbox ORDER BY id LIMIT $1) AS entry)::text AS outbox,
       (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(id, facility_id)), '[]')
          FROM (SELECT * FROM facility_outbox ORDER BY id LIMIT $1) AS entry)::text AS facilities,
       (SELECT floor(extract(epoch FROM max(verified_through)) * 1000.0)::bigint FROM job_runs
         WHERE isfinite(verified_through) AND state = 'done' AND job IN ('rebuild', 'full_rebuild')) AS verified_through_ms,
       servers.present AS servers, servers.present - least(servers.on_stream, servers.present) AS off_stream,
       triggers.off::text AS triggers_off, triggers.fingerprint AS triggers_now, triggers.remedy, triggers_seen,
       sources.stamp AS sources_stamp, sources.has_others AS sources_have_others,
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_transaction,
       CASE WHEN pg_catalog.has_sequence_privilege('outbox_id_seq', 'SELECT') THEN pg_sequence_last_value('outbox_id_seq'::regclass) END AS rows_written,
       floor(extract(epoch FROM pg_postmaster_start_time()) * 1000.0)::bigint AS server_since_ms,
       versions_from, generation, fleet_epoch(salt) AS epoch, watermark_epoch, watermark_generation, watermark_number,
       CASE WHEN isfinite(watermark_at) THEN floor(extract(epoch FROM watermark_at) * 1000.0)::bigint END AS watermark_ms
FROM fleet, (
    SELECT count(*) FILTER (WHERE objid = 1::oid) AS present, count(*) FILTER (WHERE objid = 4::oid) AS on_stream FROM pg_locks
    WHERE locktype = 'advisory' AND classid = ($2::integer)::oid AND objid IN (1::oid, 4::oid) AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS servers, source_triggers AS triggers, source_stamp AS sources, mapped_triggers AS mapped

SELECT s.facility_id, s.date::text AS date, s.total_stock, s.total_transferred, s.total_requests, s.by_blood_type::text AS by_blood_type,
       floor(extract(epoch FROM s.as_of) * 1000)::bigint AS as_of_ms, ceil(extract(epoch FROM s.next_expires_at) * 1000)::bigint AS next_expires_at_ms,
       floor(extract(epoch FROM s.updated_at) * 1000)::bigint AS updated_at_ms, s.version
FROM unnest($1::uuid[], $2::text[]) AS k (facility_id, date)
JOIN dashboard_daily_summary s ON s.facility_id = k.facility_id AND s.date = k.date::date

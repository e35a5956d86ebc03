UPDATE facility_state f SET today = o.date::date FROM unnest($1::uuid[], $2::text[]) AS o (facility_id, date) WHERE f.facility_id = o.facility_id
